"""Webhooks as Meta sends them, made for tests."""

import json
from typing import Any

WABA, NUMBER = "419561257915477", "106540352242922"


def status(wamid: str = "wamid.1", **fields: Any) -> dict[str, Any]:
    return {"id": wamid, "status": "sent", "timestamp": "1750091045", "recipient_id": "16505551234", **fields}


def value(**lists: Any) -> dict[str, Any]:
    metadata = {"display_phone_number": "15550783881", "phone_number_id": NUMBER}
    return {"messaging_product": "whatsapp", "metadata": metadata, **lists}


def entry(*changes: Any, **fields: Any) -> dict[str, Any]:
    return {"id": WABA, "changes": list(changes), **fields}


def webhook(*entries: Any) -> bytes:
    return json.dumps({"object": "whatsapp_business_account", "entry": list(entries)}).encode()


def body(field: str = "messages", **lists: Any) -> bytes:
    """One entry with one change."""
    return webhook(entry({"field": field, "value": value(**lists)}))

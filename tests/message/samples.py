"""Contents and their parts as Meta documents them, for tests to vary."""

from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]

LINK = "https://example.com/a"
MEDIA = {"link": LINK}
BODY = {"text": "Choose"}
TEXT_HEADER = {"type": "text", "text": "Offers"}
OFFER_ENDS_AT = datetime(2026, 11, 22, tzinfo=UTC)


def message(kind: str, value: Any) -> Json:
    return {"type": kind, kind: value}


def interactive(kind: str, action: Json, **around: Any) -> Json:
    """With a body, unless it is given as None."""
    parts = {"type": kind, "body": BODY, "action": action} | around
    return message("interactive", {name: part for name, part in parts.items() if part is not None})


def reply(id_: str = "yes", title: str = "Yes") -> Json:
    return {"type": "reply", "reply": {"id": id_, "title": title}}


def buttons(*given: Json, **around: Any) -> Json:
    return interactive("button", {"buttons": list(given or [reply()])}, **around)


def row(**fields: str) -> Json:
    return {"id": "1", "title": "Apple"} | fields


def list_of(*sections: Json, **around: Any) -> Json:
    return interactive("list", {"button": "Open", "sections": list(sections)}, **around)


def cta_url(display_text: str) -> Json:
    return {"name": "cta_url", "parameters": {"display_text": display_text, "url": "https://example.com"}}


def flow(**fields: Any) -> Json:
    parameters = {"flow_message_version": "3", "flow_id": "1", "flow_cta": "Open"} | fields
    return interactive("flow", {"name": "flow", "parameters": parameters})


def products(count: int) -> list[Json]:
    return [{"product_retailer_id": str(index)} for index in range(count)]


def product_list(*sections: Json, **around: Any) -> Json:
    action = {"catalog_id": "1", "sections": list(sections)}
    return interactive("product_list", action, **({"header": TEXT_HEADER} | around))


def card(index: int = 0, **fields: Any) -> Json:
    return {"card_index": index, "header": message("image", MEDIA), "action": cta_url("Open")} | fields


def carousel(*cards: Json) -> Json:
    return interactive("carousel", {"cards": list(cards)})


def quick_reply(index: int, **fields: str) -> Json:
    button = {"type": "quick_reply", "quick_reply": {"id": "1", "title": "Yes"} | fields}
    return card(index, action={"buttons": [button]})


def voice_call(**parameters: Any) -> Json:
    return interactive("voice_call", {"name": "voice_call", "parameters": parameters})


def template(*components: Json, name: str = "shipped") -> Json:
    parts = {"components": list(components)} if components else {}
    return message("template", {"name": name, "language": {"code": "en_US"}} | parts)


def parameter(kind: str, value: Any) -> Json:
    return template({"type": "body", "parameters": [message(kind, value)]})

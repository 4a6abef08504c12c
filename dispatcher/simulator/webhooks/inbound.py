"""What users send to a number, as entries of `changes`; decides nothing."""

import secrets
from collections.abc import Mapping
from typing import Any

Change = dict[str, Any]

DETAILS = {
    "stop": "User requested to stop marketing messages",
    "resume": "User requested to resume marketing messages",
}
PROFILE = {"name": "Sheena Nelson"}


def text(place: tuple[str, str], sender: str, body: str, at: int) -> Change:
    """A text message; `place` is the number's id, and the number as people read it."""
    sender = sender.removeprefix("+")
    wamid = f"wamid.HBgL{secrets.token_hex(16).upper()}AA=="
    message = {"from": sender, "id": wamid, "timestamp": str(at), "type": "text", "text": {"body": body}}
    return _change("messages", place, {"contacts": [{"profile": PROFILE, "wa_id": sender}], "messages": [message]})


def preference(place: tuple[str, str], sender: str, value: str, at: int) -> Change:
    """A user stops or resumes marketing messages.

    Raises:
        ValueError: The value is neither `stop` nor `resume`.
    """
    if value not in DETAILS:
        raise ValueError(f"a preference is stop or resume, not {value!r}")
    sender = sender.removeprefix("+")
    # A number here, unlike in all other webhooks: Meta's papers write it without quotes.
    wish = {
        "wa_id": sender,
        "detail": DETAILS[value],
        "category": "marketing_messages",
        "value": value,
        "timestamp": at,
    }
    contacts = [{"profile": PROFILE, "wa_id": sender}]
    return _change("user_preferences", place, {"contacts": contacts, "user_preferences": [wish]})


def counted(change: Mapping[str, Any]) -> tuple[str, int]:
    """Whose throughput a change uses up, and for how many messages; statuses and other fields use none.

    Raises:
        TypeError: It has not the shape of a change.
    """
    value = change.get("value")
    if not isinstance(change.get("field"), str) or not isinstance(value, dict):
        raise TypeError("a change has a field, which is a string, and a value, which is an object")
    messages = value.get("messages")
    metadata = value.get("metadata")
    number = metadata.get("phone_number_id") if isinstance(metadata, dict) else None
    if change["field"] != "messages" or not isinstance(messages, list) or not isinstance(number, str):
        return "", 0
    return number, len(messages)


def _change(field: str, place: tuple[str, str], more: dict[str, Any]) -> Change:
    metadata = {"display_phone_number": place[1], "phone_number_id": place[0]}
    return {"value": {"messaging_product": "whatsapp", "metadata": metadata, **more}, "field": field}

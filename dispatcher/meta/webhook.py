"""Reads the body of a webhook into updates. Pure and total: any bytes, never an exception, no update lost with another.

The shapes are those of Meta's webhook pages; whatever they leave open is taken as long as it can be told apart.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from dispatcher.message import recipient
from dispatcher.meta.parsing import compact, parsed
from dispatcher.meta.updates import Inbound, Notice, Preference, Receipt, Unreadable, Update
from dispatcher.policy import words

_OBJECT = "whatsapp_business_account"
_ID_CHARACTERS_MAX = 512
_WORD_CHARACTERS_MAX = 64
_TEXT_CHARACTERS_MAX = 400  # of Meta's words; of these 40 bytes are kept
_PRICING_CHARACTERS_MAX = 1000
_DIGITS_MAX = 20
_SECONDS_MAX = 10**11  # the year 5138; what is later is in milliseconds

_CATEGORIES = {"marketing_messages": "marketing"}
_STOPS = {"stop": True, "resume": False}


class _WrongError(Exception):
    """An update is not what it should be; says what is wrong."""


@dataclass(frozen=True, slots=True)
class _Where:
    """Where an update was found: the account, the number, and the time of the entry for those that have none."""

    waba: str
    number: str
    at_s: int


def read(body: bytes) -> list[Update]:
    """Return the updates of a webhook in their order.

    What cannot be read is an `Unreadable` in its place. A body that is no webhook of a WhatsApp account is one.
    """
    try:
        webhook = parsed(body)
    except ValueError as exc:
        return [Unreadable(f"no JSON: {str(exc)[:100]}", body.decode(errors="replace"), is_receipt=True)]
    if not isinstance(webhook, dict) or webhook.get("object") != _OBJECT or not isinstance(webhook.get("entry"), list):
        return [Unreadable(f"no webhook of a {_OBJECT}", body.decode(errors="replace"), is_receipt=True)]
    return [update for entry in webhook["entry"] for update in _of_entry(entry)]


def _of_entry(entry: Any) -> Iterator[Update]:
    changes = entry.get("changes") if isinstance(entry, dict) else None
    if not isinstance(changes, list):
        yield _unreadable("an entry without changes", entry, is_receipt=True)
        return
    waba, at_s = _id(entry.get("id")), _seconds(entry.get("time"), 0)
    for change in changes:
        yield from _of_change(change, waba, at_s)


def _of_change(change: Any, waba: str, at_s: int) -> Iterator[Update]:
    field = change.get("field") if isinstance(change, dict) else None
    if not isinstance(field, str) or not field or len(field) > _WORD_CHARACTERS_MAX:
        yield _unreadable("a change without a field", change, is_receipt=True)
        return
    value = change.get("value")
    if field not in _FIELDS:
        yield _one(_notice, field, value, _Where(waba, "", at_s))
    elif not isinstance(value, dict):
        yield _unreadable(f"{field} without an object", change, is_receipt=field == "messages")
    else:
        yield from _of_value(field, value, _Where(waba, _number(value), at_s))


def _of_value(field: str, value: dict[str, Any], where: _Where) -> Iterator[Update]:
    """Return the updates in a value that lists them; one that lists nothing we know is news of its field."""
    known = [name for name in _LISTS if name in value]
    for name in known:
        rows = value[name]
        if isinstance(rows, list):
            for row in rows:
                yield _one(_LISTS[name], name, row, where)
        else:
            yield _unreadable(f"{name} is no list", rows, is_receipt=name == "statuses")
    if "errors" in value:
        trouble = {name: value[name] for name in ("metadata", "errors") if name in value}
        yield _one(_notice, f"{field}.errors", trouble, where)
    elif not known:
        yield _one(_notice, field, value, where)


def _one(reader: Callable[[str, Any, _Where], Update], name: str, row: Any, where: _Where) -> Update:
    try:
        return reader(name, row, where)
    except (_WrongError, ValueError) as exc:
        return _unreadable(f"{name}: {exc}", row, is_receipt=name == "statuses")


def _receipt(_: str, row: Any, where: _Where) -> Receipt:
    status = _object(row)
    callback = status.get("biz_opaque_callback_data")
    code, error = _failure(status.get("errors"))
    return Receipt(
        wamid=_required(status, "id", _ID_CHARACTERS_MAX),
        status=_required(status, "status", _WORD_CHARACTERS_MAX),
        at_s=_seconds(status.get("timestamp"), where.at_s),
        number=where.number,
        waba=where.waba,
        recipient=_person(status.get("recipient_id"), status.get("recipient_user_id")),
        callback=callback if isinstance(callback, str) else "",
        code=code,
        error=error,
        pricing=_pricing(status.get("pricing")),
    )


def _inbound(_: str, row: Any, where: _Where) -> Inbound:
    message = _object(row)
    kind = message.get("type")
    return Inbound(
        wamid=_required(message, "id", _ID_CHARACTERS_MAX),
        sender=_person(message.get("from"), message.get("from_user_id")),
        number=where.number,
        waba=where.waba,
        at_s=_seconds(message.get("timestamp"), where.at_s),
        kind=kind if isinstance(kind, str) and 0 < len(kind) <= _WORD_CHARACTERS_MAX else "unknown",
        text=_text(message),
        raw=compact(message),
    )


def _preference(_: str, row: Any, where: _Where) -> Preference:
    wish = _object(row)
    category = _required(wish, "category", _WORD_CHARACTERS_MAX)
    stops = _STOPS.get(_required(wish, "value", _WORD_CHARACTERS_MAX))
    person = _person(wish.get("wa_id"), wish.get("user_id"))
    if stops is None:
        raise _WrongError("value is neither stop nor resume")
    if not person:
        raise _WrongError("nobody's")
    detail = wish.get("detail")
    return Preference(
        recipient=person,
        number=where.number,
        waba=where.waba,
        category=_CATEGORIES.get(category, category),
        stops=stops,
        at_s=_seconds(wish.get("timestamp"), where.at_s),
        reason=words.clean(detail[:_TEXT_CHARACTERS_MAX]) if isinstance(detail, str) else "",
    )


def _notice(field: str, value: Any, where: _Where) -> Notice:
    return Notice(field, where.waba, where.at_s, compact(value))


_LISTS: dict[str, Callable[[str, Any, _Where], Update]] = {
    "statuses": _receipt,
    "messages": _inbound,
    "user_preferences": _preference,
}
_FIELDS = ("messages", "user_preferences")


def _unreadable(reason: str, what: Any, *, is_receipt: bool) -> Unreadable:
    try:
        raw = compact(what)
    except ValueError:
        raw = ""  # nested more deeply than anything can be written; the body still has it
    return Unreadable(reason, raw, is_receipt)


def _object(row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise _WrongError("no object")
    return row


def _required(row: dict[str, Any], name: str, characters_max: int) -> str:
    found = row.get(name)
    if not isinstance(found, str) or not 0 < len(found) <= characters_max:
        raise _WrongError(f"{name} is missing or no short text")
    return found


def _failure(given: Any) -> tuple[int | None, str]:
    """Return code and text of what failed: the first error decides, the other codes follow where there is room."""
    rows = [row for row in given if isinstance(row, dict)] if isinstance(given, list) else []
    if not rows:
        return None, ""
    code, *others = [words.code(row.get("code")) for row in rows[:10]]
    texts = (rows[0].get("title"), rows[0].get("message"))
    text = next((text for text in texts if isinstance(text, str) and text), "")
    error = words.clean(text[:_TEXT_CHARACTERS_MAX])
    for other in others:
        longer = f"{error} +{other}".lstrip()
        if other is not None and len(longer.encode()) <= words.TEXT_BYTES:
            error = longer
    return code, f"{'unknown' if code is None else code} {error}".rstrip()


def _text(message: dict[str, Any]) -> str:
    """Return what a person wrote or tapped; nothing for other kinds."""
    match message:
        case {"type": "text", "text": {"body": str(text)}}:
            return text
        case {"type": "button", "button": {"text": str(text)}}:
            return text
        case {"type": "interactive", "interactive": {"button_reply": {"title": str(text)}}}:
            return text
        case {"type": "interactive", "interactive": {"list_reply": {"title": str(text)}}}:
            return text
    return ""


def _pricing(given: Any) -> str:
    if not isinstance(given, dict):
        return ""
    try:
        text = compact(given)
    except ValueError:
        return ""
    return text if len(text) <= _PRICING_CHARACTERS_MAX else ""


def _number(value: dict[str, Any]) -> str:
    metadata = value.get("metadata")
    return _id(metadata.get("phone_number_id")) if isinstance(metadata, dict) else ""


def _person(phone: Any, user_id: Any) -> str:
    """Return a phone with `+`, else a business-scoped user id, else nothing."""
    digits = _id(phone).removeprefix("+")
    if digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS_MAX:
        return f"+{digits}"
    return user_id if isinstance(user_id, str) and recipient.is_user_id(user_id) else ""


def _id(given: Any) -> str:
    """Return an id, which Meta sometimes writes as a number; nothing for whatever else came."""
    if isinstance(given, int) and not isinstance(given, bool) and 0 <= given < 10**_DIGITS_MAX:
        return str(given)
    return given if isinstance(given, str) and len(given) <= _WORD_CHARACTERS_MAX else ""


def _seconds(given: Any, default: int) -> int:
    """Return a time in seconds since 1970, which comes as a number or as its digits, in seconds or milliseconds."""
    if isinstance(given, str) and len(given) <= _DIGITS_MAX and given.isascii() and given.isdigit():
        given = int(given)
    if not isinstance(given, int) or isinstance(given, bool) or not 0 < given < _SECONDS_MAX * 1000:
        return default
    return given if given < _SECONDS_MAX else given // 1000

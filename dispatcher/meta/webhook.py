"""Meta's webhooks: who signed one, and its body as updates, each a value in our words.

Pure and total: any bytes, never an exception, no update lost with another. The shapes are those of Meta's webhook
pages; whatever they leave open is taken as long as it can be told apart. Knows no HTTP.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json

from dispatcher.message import recipient
from dispatcher.policy import codes

_OBJECT = "whatsapp_business_account"
_ID_CHARACTERS_MAX = 512
_WORD_CHARACTERS_MAX = 64
_TEXT_CHARACTERS_MAX = 400  # of Meta's words; of these 40 bytes are kept
_PRICING_CHARACTERS_MAX = 1000
_DIGITS_MAX = 20
_SECONDS_MAX = 10**11  # the year 5138; what is later is in milliseconds

_CATEGORIES = {"marketing_messages": "marketing"}
_STOPS = {"stop": True, "resume": False}

_SIGNATURE = re.compile(r"sha256=([0-9a-f]{64})")  # in lower case, as Meta writes it
# What this package appends to each POST, and Meta echoes in every status: version, claim number and key.
_OURS = re.compile(r"d1:(\d{1,9}):([A-Za-z0-9._:@/+=-]{1,128})")
# Pairs of surrogates and other escapes are stepped over, so that what is left of surrogates stands alone.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
_INTEGER_DIGITS_MAX = 4000  # Python refuses to convert longer integers


def is_signed(body: bytes, header: str | None, secrets: Sequence[bytes]) -> bool:
    """Whether `X-Hub-Signature-256` is that of the raw body under one of the app's secrets.

    All secrets are tried, so that the time says nothing of which one fits. An empty secret signs nothing: anybody knows
    it. Any header is taken, and nothing but the exact form is right.
    """
    found = _SIGNATURE.fullmatch(header or "")
    if found is None:
        return False
    matches = [
        hmac.compare_digest(hmac.new(secret, body, hashlib.sha256).hexdigest(), found[1])
        for secret in secrets
        if secret
    ]
    return any(matches)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A status of a message: `status` is sent, delivered, read, played, failed, or something newer.

    `recipient` is a phone with `+`, a business-scoped user id, or empty; `code` and `error` are those of a failure,
    `pricing` is Meta's object as compact JSON or empty, `at_s` Meta's time in seconds since 1970.
    """

    wamid: str
    status: str
    at_s: int
    number: str
    waba: str
    recipient: str = ""
    callback: str = ""
    code: int | None = None
    error: str = ""
    pricing: str = ""

    @property
    def key(self) -> str:
        """The key of the message, or empty if another program sent it."""
        found = _OURS.fullmatch(self.callback)
        return found[2] if found else ""

    @property
    def claim(self) -> int:
        """The claim that posted it; 0 if another program did."""
        found = _OURS.fullmatch(self.callback)
        return int(found[1]) if found else 0


@dataclass(frozen=True, slots=True)
class Inbound:
    """A message of a person to a number; `text` is what they wrote or tapped, `raw` all of it as compact JSON."""

    wamid: str
    sender: str
    number: str
    waba: str
    at_s: int
    kind: str
    text: str
    raw: str


@dataclass(frozen=True, slots=True)
class Preference:
    """A person wants no more of a category (`stops`), or wants it again."""

    recipient: str
    number: str
    waba: str
    category: str
    stops: bool
    at_s: int
    reason: str


@dataclass(frozen=True, slots=True)
class Notice:
    """News of a template, a number's quality or an account: Meta's `field` and its value as compact JSON."""

    field: str
    waba: str
    at_s: int
    raw: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An update that could not be read, kept as it came; `is_receipt` if a status may be lost with it."""

    reason: str
    raw: str
    is_receipt: bool


Update = Receipt | Inbound | Preference | Notice | Unreadable


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
        reason=codes.clean(detail[:_TEXT_CHARACTERS_MAX]) if isinstance(detail, str) else "",
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
    code, *others = [codes.code_of(row.get("code")) for row in rows[:10]]
    texts = (rows[0].get("title"), rows[0].get("message"))
    text = next((text for text in texts if isinstance(text, str) and text), "")
    error = codes.clean(text[:_TEXT_CHARACTERS_MAX])
    for other in others:
        longer = f"{error} +{other}".lstrip()
        if other is not None and len(longer.encode()) <= codes.TEXT_BYTES:
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


def parsed(body: bytes) -> Any:
    """Return what the bytes say.

    Half an emoji and numbers of thousands of digits are repaired, because one person's odd text must not hide the
    other updates of its batch.

    Raises:
        ValueError: they are no JSON, or nested beyond all reason.
    """
    try:
        return from_json(body)
    except ValueError:
        pass
    text = _ESCAPE.sub(_repaired, body.decode(errors="replace"))
    try:
        return json.loads(text, parse_int=_integer)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def compact(value: Any) -> str:
    """Return JSON without spaces.

    Raises:
        ValueError: it is nested too deeply.
    """
    try:
        return to_json(value, inf_nan_mode="null").decode()
    except PydanticSerializationError:
        raise ValueError("nested too deeply") from None


def _repaired(escape: re.Match[str]) -> str:
    return r"\ufffd" if escape[1] else escape[0]


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _INTEGER_DIGITS_MAX else digits

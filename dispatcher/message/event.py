"""What consumers of a cell's streams get: an outcome of a message, or what came in by webhook. Knows no Redis.

Reading is total: a field that is missing or of another kind is empty, and an entry never stands in the way of the next.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

TYPES = (
    "accepted", "dead", "expired", "cancelled", "suppressed", "retry", "snoozed", "uncertain", "resend", "duplicate",
    "sent", "delivered", "read", "played", "failed",
)  # fmt: skip
"""Every type of an event so far; receipts may bring new ones."""

_NUMBER_MAX = 10**15


@dataclass(frozen=True, slots=True)
class Event:
    """An outcome or receipt of one message; what does not apply is empty.

    `id` is that of the stream entry and the same whenever the event is delivered again; `at` is the time it happened.
    `attempt` counts POSTs that ended in an outcome, `pricing` is Meta's object, as receipts bring it.
    """

    id: str
    v: int
    type: str
    at: datetime
    number: str
    key: str
    wamid: str
    campaign: str
    category: str
    callback_data: str
    attempt: int
    cause: str
    error: str
    pricing: dict[str, Any] | None
    trace: str

    def as_json(self) -> str:
        """Return one line of JSON with all fields; `at` is ISO 8601 in UTC, with milliseconds."""
        return _line(self)


@dataclass(frozen=True, slots=True)
class Incoming:
    """An inbound message or news of Meta, from the streams `inbound` and `updates`.

    `data` is what Meta sent, parsed, or None where it cannot be. `type` is `message`, or Meta's field for the news;
    only a message has `number`, `wamid`, `sender`, `kind` and `text`. Other fields of the entry are in `more`.
    """

    id: str
    v: int
    type: str
    at: datetime
    number: str
    waba: str
    wamid: str
    sender: str
    kind: str
    text: str
    data: Any
    more: dict[str, str]

    def as_json(self) -> str:
        """Return one line of JSON with all fields; `at` is ISO 8601 in UTC, with milliseconds."""
        return _line(self)


def event(entry_id: str, fields: Mapping[str, str]) -> Event:
    """Read an entry of the stream `events`."""
    extra = _object(fields.get("extra", "")) or {}
    return Event(
        id=entry_id,
        v=_whole(fields.get("v", "")),
        type=fields.get("type", ""),
        at=_at(entry_id, fields.get("at", "")),
        number=fields.get("number", ""),
        key=fields.get("key", ""),
        wamid=fields.get("wamid", ""),
        campaign=fields.get("campaign", ""),
        category=fields.get("category", ""),
        callback_data=_text(extra.get("callback_data")),
        attempt=_whole(fields.get("attempt", "")),
        cause=fields.get("cause", ""),
        error=fields.get("error", ""),
        pricing=_object(fields.get("pricing", "")),
        trace=_text(extra.get("trace")),
    )


def incoming(entry_id: str, fields: Mapping[str, str]) -> Incoming:
    """Read an entry of the streams `inbound` and `updates`."""
    texts = ("type", "number", "waba", "wamid", "sender", "kind", "text")
    known = {"v", "at", "raw", *texts}
    return Incoming(
        id=entry_id,
        v=_whole(fields.get("v", "")),
        at=_at(entry_id, fields.get("at", "")),
        data=_parsed(fields.get("raw", "")),
        more={name: value for name, value in fields.items() if name not in known},
        **{name: fields.get(name, "") for name in texts},
    )


def read(stream: str, entry_id: str, fields: Mapping[str, str]) -> Event | Incoming:
    """Read an entry of a stream."""
    return event(entry_id, fields) if stream == "events" else incoming(entry_id, fields)


def _line(value: Event | Incoming) -> str:
    at = value.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps(asdict(value) | {"at": at}, ensure_ascii=False)


def _at(entry_id: str, ms: str) -> datetime:
    """Return the time in ms, or else that at which the entry was written."""
    written = entry_id.partition("-")[0]
    return datetime.fromtimestamp((_whole(ms) or _whole(written)) / 1000, UTC)


def _whole(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(_NUMBER_MAX)) else 0
    return number if number < _NUMBER_MAX // 10 else 0


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _object(text: str) -> dict[str, Any] | None:
    found = _parsed(text)
    return found if isinstance(found, dict) else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""

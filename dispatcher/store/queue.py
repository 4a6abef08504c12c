"""What producers ask of a cell: queue messages, cancel one, say how one stands."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from dispatcher import errors
from dispatcher.message.message import Message, body, fingerprint, label, template_label
from dispatcher.message.priority import DEAD_KEPT_S, LANE_OF, Priority
from dispatcher.store.health import server_time
from dispatcher.store.schema import LANES, PROCESS_ALIVE_S, US, Cell
from dispatcher.store.scripts import Argument, Command, Steps, call, plain

FULL_FOR = {Priority.BULK: 0.75, Priority.NORMAL: 0.85}
"""A server that fills up refuses campaigns first and one-time passwords last: share of maxmemory."""
DEAD_EXAMINED: Final = 100
"""Of how many dead messages, the newest first, it is said which codes they died of."""


@dataclass(frozen=True, slots=True)
class Enqueued:
    """What became of one message: `word` is `queued`, `duplicate` or `conflict`; `state` is that of the key."""

    word: str
    state: str


@dataclass(frozen=True, slots=True)
class Record:
    """How a message stands. While it waits, `cause` says for what; of a dead one, what it died of.

    `unproven` counts how often it was posted again without proof, `others` are the further ids of one accepted twice.
    `decides_at` is when an uncertain one is looked at next: it is then posted again, held as dead, or looked at later.
    """

    key: str
    state: str
    cause: str
    number: str
    priority: str
    recipient: str
    attempts: int
    wamid: str
    error: str
    enqueued_at: datetime | None
    due_at: datetime | None
    claimed_at: datetime | None
    settled_at: datetime | None
    expires_at: datetime | None
    unproven: int = 0
    others: str = ""
    decides_at: datetime | None = None


class _MessageEntry(NamedTuple):
    key: str
    number: str
    recipient: str
    priority: int
    category: str
    campaign: str
    template: str
    fingerprint: str
    not_before_us: Argument
    ttl_us: Argument
    expires_us: Argument
    on_uncertain: str
    body: Argument
    extra: str
    replaces: str


def enqueue(cell: Cell, messages: Sequence[Message]) -> Command[list[Enqueued]]:
    """Put messages with keys and number ids into their lanes, all of them or, in a full server, none.

    Raises, when it is run, `errors.QueueFull` if the server has no room: nothing was queued then.
    """
    return call(cell, "queue/enqueue", _enqueued, entries=map(_entry, messages))


def cancel(cell: Cell, key: str) -> Command[tuple[str, str]]:
    """Cancel a waiting message: `cancelled`, `marked`, `settled` or `unknown`, and the state it was in."""
    return call(cell, "queue/cancel", lambda reply: (reply[0].decode(), reply[1].decode()), args={"key": key})


def look(cell: Cell, key: str) -> Command[Record | None]:
    """Say how a message stands; None where the key is not known (any more)."""
    args: dict[str, Argument] = {"key": key, "alive_us": PROCESS_ALIVE_S * US}
    return call(cell, "queue/look", lambda reply: _record(key, reply) if reply else None, args=args)


def dead_by_code(cell: Cell) -> Steps[dict[str, int]]:
    """Of the newest dead messages, how many died of which code of Meta; without a code, of which cause."""
    keys = yield plain("ZREVRANGE", cell.key("dead"), 0, DEAD_EXAMINED - 1, parse=list, default=[])
    records: list[Record | None] = yield [look(cell, key.decode(errors="replace")) for key in keys]
    found: dict[str, int] = {}
    for record in records:
        if record is not None and record.state == "dead":
            code = record.error.partition(" ")[0]
            name = code if code.isdecimal() else record.cause
            found[name] = found.get(name, 0) + 1
    return found


def forget_dead(cell: Cell) -> Steps[int]:
    """Drop dead messages from their list whose record has expired; how many."""
    horizon_us = (yield server_time()) - DEAD_KEPT_S * US
    dropped: int = yield plain("ZREMRANGEBYSCORE", cell.key("dead"), "-inf", horizon_us, parse=int)
    return dropped


def refusal(found: Enqueued, key: str) -> errors.Refused | None:
    """Turn a conflict into the error that the caller gets; None for what was queued or recognised."""
    if found.word != "conflict":
        return None
    return errors.KeyConflict("key", f"{key} is known with another recipient or other content ({found.state})", key)


def _entry(message: Message) -> _MessageEntry:
    if message.key is None:
        raise ValueError("a message needs a key before it is queued")
    extra = {name: getattr(message, name) for name in ("callback_data", "trace") if getattr(message, name)}
    return _MessageEntry(
        key=message.key,
        number=message.number,
        recipient=label(message.to),
        priority=LANE_OF[message.priority],
        category=message.category,
        campaign=message.campaign or "",
        template=template_label(message.content) or "",
        fingerprint=fingerprint(message),
        not_before_us=round(message.not_before.timestamp() * US) if message.not_before else "",
        ttl_us=round(message.ttl_s * US) if message.ttl_s is not None else "",
        expires_us=round(message.expires_at.timestamp() * US) if message.expires_at else "",
        on_uncertain=message.on_uncertain,
        body=body(message),
        extra=json.dumps(extra) if extra else "",
        replaces=message.replaces or "",
    )


def _enqueued(reply: Sequence[Sequence[bytes]]) -> list[Enqueued]:
    return [Enqueued(word.decode(), state.decode()) for word, state in reply]


def _record(key: str, reply: bytes) -> Record:
    found = json.loads(reply.decode(errors="replace"))
    fields: dict[str, str] = found["record"]
    waiting = found.get("waiting")
    cause = _waiting_for(waiting, fields, int(found["now"])) if waiting else fields.get("cause", "")
    state = fields.get("state", "dead")
    if cause == "expired":
        state, cause = cause, ""  # from the second on; the books follow
    priority = fields.get("priority", "")
    return Record(
        key=key,
        state=state,
        cause=cause,
        number=fields.get("number", ""),
        priority=LANES[int(priority)] if priority in {"0", "1", "2"} else "",
        recipient=fields.get("to", ""),
        attempts=round(_number(fields.get("attempts")) or 0),
        wamid=fields.get("wamid", ""),
        error=fields.get("error", ""),
        enqueued_at=moment(fields.get("enqueued")),
        due_at=moment(waiting["place"] if waiting else fields.get("due")),
        claimed_at=moment(fields.get("claimed")),
        settled_at=moment(fields.get("settled")),
        expires_at=moment(fields.get("expires")),
        unproven=round(_number(fields.get("unproven")) or 0),
        others=fields.get("others", ""),
        decides_at=moment(found.get("decides")),
    )


def _waiting_for(waiting: dict[str, Any], fields: dict[str, str], now_us: int) -> str:
    """Name what a queued message waits for; what a person must do something about comes first."""
    place_us = float(waiting["place"])
    if float(fields["expires"]) <= now_us:
        return "expired"
    if waiting["stopped"]:
        return f"stopped:{waiting['stopped']}"
    if place_us > now_us:
        return "pair" if fields.get("error", "").startswith("131056") else "not_before"
    if not waiting["served"]:
        return "no_worker"
    if float(waiting["till"]) > now_us:
        return "blocked"
    return "rate"


def moment(us: object) -> datetime | None:
    """Read a time in µs; None where there is none, or nonsense."""
    number = _number(us)
    try:
        return datetime.fromtimestamp(number / US, UTC) if number else None
    except (OverflowError, ValueError, OSError):
        return None


def read_object(row: bytes) -> dict[str, Any]:
    """Read a JSON object; empty where it cannot be read."""
    try:
        found = json.loads(row)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _number(given: object) -> float | None:
    try:
        number = float(str(given))
    except ValueError:
        return None
    return number if math.isfinite(number) else None

"""Webhooks on their way through a cell: where bodies wait to be worked off and passed on, and what is said of gaps."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from dispatcher import errors
from dispatcher.meta.webhook import parsed
from dispatcher.store.schema import DOOR_SILENT_S, US, Cell
from dispatcher.store.scripts import Argument, Command, Steps, call, plain

BYTES_MAX: Final = 3 * 2**20
"""Meta's webhooks have at most 3 MB."""
GROUP = "dispatcher"
_DROPPED_A_CALL = 200
_LONG_AGO_MS = 86_400_000
_GONE_MS = 3_600_000
_NEW_ONLY = -1


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many entries wait in a stream, and how old the oldest is."""

    entries: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class Beat:
    """What a beat found: whether a gap was marked, what waits to be worked off, and to be passed on."""

    marked: bool
    webhooks: Waiting
    forwards: tuple[Waiting, ...]


@dataclass(frozen=True, slots=True)
class StoredWebhook:
    """One entry of a stream; `deliveries` counts how often it was handed out, this time included."""

    id: bytes
    fields: dict[bytes, bytes]
    deliveries: int = 1


class _Name(NamedTuple):
    name: str


class _Id(NamedTuple):
    id: bytes


def forward_name(url: str) -> str:
    """Name a URL without saying it: it may hold secrets."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]


def forward_key(cell: Cell, url: str) -> str:
    """Name the stream of webhooks to pass on to a URL."""
    return cell.key(f"forward:{forward_name(url)}")


def store(
    cell: Cell, body: bytes, signature: str, content_type: str, *, gap: bool, forwards: Sequence[str]
) -> Command[int]:
    """Store a body where it is worked off and in the streams `forwards`, in all or in none.

    One whose answer is lost may be stored twice. `gap` says that the door has missed something before.
    """
    args: dict[str, Argument] = {
        "body": body,
        "signature": signature,
        "type": content_type,
        "gap": "1" if gap else "0",
    }
    return call(cell, "webhooks/store", int, more_keys=forwards, args=args)


def beat(cell: Cell, process: str, *, gap: bool, forwards: Sequence[str], is_last: bool = False) -> Command[Beat]:
    """Say that the door is there, and whether it has missed something; ask what waits. The last one says goodbye."""
    args: dict[str, Argument] = {
        "silent_us": DOOR_SILENT_S * US,
        "gap": "1" if gap else "0",
        "process": process,
        "beats": "0" if is_last else "1",
    }
    return call(cell, "webhooks/beat", _beat, more_keys=forwards, args=args)


def forget_forwards(cell: Cell, urls: Sequence[str], kept_s: float) -> Command[int]:
    """Say which URLs are known here, and drop what waits for such as nobody has known for so long; how many."""
    args: dict[str, Argument] = {"kept_us": round(kept_s * US)}
    return call(cell, "webhooks/forget_forwards", int, args=args, entries=(_Name(forward_name(url)) for url in urls))


def hand_in(cell: Cell, payload: Mapping[str, Any] | bytes) -> Command[None]:
    """Append a webhook that somebody else received.

    Raises:
        Refused: it is no JSON object, or too long.
    """
    return plain("XADD", cell.key("webhooks"), "*", "body", _body(payload), "from", "receive", parse=lambda _: None)


# Streams that the processes of a door work off together, each entry at least once.


def create_group(cell: Cell, stream: str) -> Command[int]:
    """See that a stream and the group of its processes are there."""
    return call(cell, "streams/create_group", int, keys={"stream": stream}, args={"group": GROUP})


def read(
    cell: Cell, stream: str, process: str, most: int, idle_s: float | None = None, *, done: Sequence[bytes] = ()
) -> Command[list[StoredWebhook]]:
    """Take entries that nobody has yet; with `idle_s` also such as somebody has left for so long.

    Those that are `done` with go out for good, as by `finish`.
    """
    idle_ms = _NEW_ONLY if idle_s is None else round(idle_s * 1000)
    args: dict[str, Argument] = {"group": GROUP, "process": process, "most": most, "idle_ms": idle_ms}
    done_with = (_Id(i) for i in done)
    return call(cell, "streams/read", _entries, keys={"stream": stream}, args=args, entries=done_with)


def hold(cell: Cell, stream: str, process: str, ids: Sequence[bytes]) -> Command[int]:
    """Say that entries are still being worked on, so that nobody takes them over."""
    return _held_since(cell, stream, process, 0, ids)


def give_back(cell: Cell, stream: str, process: str, ids: Sequence[bytes]) -> Command[int]:
    """Let anybody take entries over at once."""
    return _held_since(cell, stream, process, _LONG_AGO_MS, ids)


def finish(cell: Cell, stream: str, ids: Sequence[bytes]) -> Command[int]:
    """Take entries out for good; how many there were."""
    return call(
        cell, "streams/finish", int, keys={"stream": stream}, args={"group": GROUP}, entries=(_Id(i) for i in ids)
    )


def drop_old(cell: Cell, stream: str, kept_s: float) -> Steps[int]:
    """Give up entries that are older than that; how many there were."""
    args: dict[str, Argument] = {"group": GROUP, "kept_us": round(kept_s * US), "most": _DROPPED_A_CALL}
    total = 0
    while True:
        dropped: int = yield call(cell, "streams/drop_old", int, keys={"stream": stream}, args=args)
        total += dropped
        if dropped < _DROPPED_A_CALL:
            return total


def drop_consumers(cell: Cell, stream: str) -> Command[int]:
    """Forget processes that hold nothing and were not heard of for an hour."""
    args: dict[str, Argument] = {"group": GROUP, "idle_ms": _GONE_MS}
    return call(cell, "streams/drop_consumers", int, keys={"stream": stream}, args=args)


def _held_since(cell: Cell, stream: str, process: str, ago_ms: int, ids: Sequence[bytes]) -> Command[int]:
    args: dict[str, Argument] = {"group": GROUP, "process": process, "since_ms": ago_ms}
    return call(cell, "streams/hold", int, keys={"stream": stream}, args=args, entries=(_Id(i) for i in ids))


def _entries(reply: list[Any]) -> list[StoredWebhook]:
    return [
        StoredWebhook(id_, dict(zip(flat[::2], flat[1::2], strict=False)), deliveries)
        for id_, deliveries, flat in reply
    ]


def _body(payload: object) -> bytes:
    """Return a webhook as bytes: those that were given, or the object in compact JSON."""
    found = bytes(payload) if isinstance(payload, bytes | bytearray | memoryview) else _written(payload)
    if len(found) > BYTES_MAX:
        raise errors.Refused("payload", f"must have at most {BYTES_MAX:,} bytes, has {len(found):,}")
    try:
        is_object = isinstance(parsed(found), dict)
    except ValueError as exc:
        raise errors.Refused("payload", f"is no JSON: {exc}") from None
    if not is_object:
        raise errors.Refused("payload", "must be a JSON object, as Meta posts it")
    return found


def _written(payload: object) -> bytes:
    if not isinstance(payload, Mapping):
        raise errors.Refused("payload", f"must be an object or bytes, given {type(payload).__name__}")
    try:
        # escapes whatever is not ASCII: half an emoji, which json.loads lets through, has no other form
        return json.dumps(dict(payload), separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise errors.Refused("payload", f"cannot be written as JSON: {str(exc)[:200]}") from None


def _beat(reply: list[Any]) -> Beat:
    now_us, marked, *found = reply
    webhooks, *forwards = (Waiting(int(count), _age_s(int(now_us), first)) for count, first in found)
    return Beat(marked == 1, webhooks, tuple(forwards))


def _age_s(now_us: int, first: bytes) -> float:
    return max(0.0, now_us / US - int(first.partition(b"-")[0]) / 1000) if first else 0.0

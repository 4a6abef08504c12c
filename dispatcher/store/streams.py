"""The streams that a cell keeps for consumers, and how their entries are read. Knows no consumer groups."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Final, Literal

import redis.asyncio as aioredis
from redis import exceptions

from dispatcher import errors
from dispatcher.store.health import server_time
from dispatcher.store.pipeline import translate
from dispatcher.store.schema import Cell
from dispatcher.store.scripts import Argument, Command, Steps, plain

Name = Literal["events", "inbound", "updates"]
STREAMS: Final[tuple[Name, ...]] = ("events", "inbound", "updates")

ENTRIES_A_CALL: Final = 100
OLDEST: Final = "0-0"
"""To read on from there means to read all."""

COUNTED_MAX: Final = 1000
"""How many undelivered entries of a group are counted where Redis does not know their number (before Redis 7)."""
_GROUPS_MAX: Final = 100
_BLOCK_MS = 1000
_RETRY_S = 0.5


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a stream; `fields` is None where it was trimmed away since it was handed out."""

    id: str
    fields: dict[str, str] | None


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a group is behind: `waiting` entries are not acknowledged, the oldest since `oldest_s` seconds.

    Before Redis 7, of those that nobody has read yet at most `COUNTED_MAX` are counted.
    """

    stream: str
    group: str
    waiting: int
    oldest_s: float


class StreamGone(Exception):  # noqa: N818 - says what happened
    """The stream or the group is not there (any more): Redis was emptied, or is another one."""


class Talk:
    """A connection of its own, as reads that block must not hold up anything else.

    It raises `errors.QueueUnavailable` and `StreamGone`. `block_ms` is how long a read may block without being
    taken for a server that hangs.
    """

    def __init__(self, redis: "aioredis.Redis", timeout_s: float) -> None:
        # redis-py annotates one class for sync and async
        self._redis: Any = redis
        self.timeout_s = timeout_s
        self.block_ms = max(1, min(_BLOCK_MS, round(timeout_s * 500)))

    async def ask(self, command: str, *arguments: Argument) -> Any:
        """Run a command and return its raw reply."""
        try:
            # a name in bytes is known to none of redis-py's callbacks for replies, which differ and do not fit all
            return await self._redis.execute_command(command.encode(), *arguments)
        except exceptions.ResponseError as exc:
            if str(exc).startswith(("NOGROUP", "UNBLOCKED")):
                raise StreamGone(str(exc)) from None
            raise translate(exc) from exc
        except (exceptions.RedisError, OSError) as exc:
            raise translate(exc) from exc

    async def close(self) -> None:
        """Close the connection."""
        await self._redis.aclose()


class Calm:
    """Notices that its task was cancelled although nothing was raised.

    redis-py loses a cancellation that meets one of its timeouts of 0 s, and `asyncio.wait_for` of Python 3.11 one that
    meets the result; whoever reads in a loop would go on forever.
    """

    def __init__(self) -> None:
        self._before = self._count()

    def keep(self) -> None:
        """Raise the cancellation that was lost, if one was."""
        if self._count() > self._before:
            raise asyncio.CancelledError

    @staticmethod
    def _count() -> int:
        try:
            task = asyncio.current_task()
        except RuntimeError:  # nothing runs yet
            return 0
        return task.cancelling() if task else 0


async def follow(talk: Talk, key: str, *, after: str, waits: bool) -> AsyncGenerator[Entry, None]:
    """Yield the entries of a stream after an id; with `waits` also those to come, whatever happens to Redis meanwhile.

    Raises:
        QueueUnavailable: Redis is away, and not even the first question was answered, or without `waits` any.
    """
    has_answered, calm = False, Calm()
    while True:
        calm.keep()
        block = ("BLOCK", talk.block_ms) if waits else ()
        try:
            found = of_one(await talk.ask("XREAD", "COUNT", ENTRIES_A_CALL, *block, "STREAMS", key, after))
        except (errors.QueueUnavailable, StreamGone) as exc:
            if not waits or not has_answered or isinstance(exc, errors.QueueBroken):
                raise
            await asyncio.sleep(_RETRY_S)
            continue
        has_answered = True
        for entry in found:
            yield entry
            after = entry.id
        if not found and not waits:
            return


async def newest(talk: Talk, key: str) -> str:
    """Return the id of the newest entry, to read on from there."""
    found = entries(await talk.ask("XREVRANGE", key, "+", "-", "COUNT", 1))
    return found[0].id if found else OLDEST


def before(ms: int) -> str:
    """Return the id to read on from for entries since that time."""
    return f"{max(1, ms) - 1}-{2**64 - 1}"


def entries(reply: Any) -> list[Entry]:
    """Read a list of entries as Redis sends it, holes included."""
    return [_entry(row) for row in reply or () if row and row[0] is not None]


def of_one(reply: Any) -> list[Entry]:
    """Read the reply to a read of one stream; nothing came if it is empty."""
    return entries(reply[0][1]) if reply else []


def _entry(row: Any) -> Entry:
    entry_id, flat = row
    texts = [part.decode(errors="replace") for part in flat or ()]
    return Entry(entry_id.decode(), dict(zip(texts[::2], texts[1::2], strict=False)) if flat else None)


def after(cell: Cell, stream: Name, entry_id: str, most: int) -> Command[list[Entry]]:
    """Return the next entries of a stream after an id."""
    return plain("XREAD", "COUNT", most, "STREAMS", cell.key(stream), entry_id, parse=of_one)


def lags(cell: Cell) -> Steps[list[Lag]]:
    """Return the lag of every consumer group of every stream; a stream that nobody has written to or read has none."""
    now_ms = (yield server_time()) // 1000
    found: list[Lag] = []
    for stream in STREAMS:
        groups = yield plain("XINFO", "GROUPS", cell.key(stream), parse=_groups, default=[])
        for group in groups[:_GROUPS_MAX]:
            found.append((yield from _lag(cell, stream, group, now_ms)))  # noqa: PERF401 - a generator cannot
    return found


def trim(cell: Cell, kept_s: float) -> Steps[None]:
    """Drop what is too old from the streams, also where nothing new comes that would push it out."""
    horizon_ms = max(0, (yield server_time()) // 1000 - round(kept_s * 1000))
    yield [plain("XTRIM", cell.key(stream), "MINID", "~", horizon_ms, parse=int) for stream in STREAMS]


def _lag(cell: Cell, stream: str, group: dict[str, Any], now_ms: int) -> Steps[Lag]:
    key, name, after = cell.key(stream), group["name"], b"(" + group["last-delivered-id"]
    [pending, oldest_pending, *_] = yield plain("XPENDING", key, name, parse=list, default=[0, None])
    undelivered = group.get("lag")
    first = yield _range(key, after, 1)
    if not isinstance(undelivered, int):
        undelivered = len((yield _range(key, after, COUNTED_MAX))) if first else 0
    since = [entry.id for entry in first] + ([oldest_pending.decode()] if oldest_pending else [])
    oldest_ms = min((int(entry_id.partition("-")[0]) for entry_id in since), default=now_ms)
    return Lag(stream, name.decode(errors="replace"), pending + undelivered, max(0, now_ms - oldest_ms) / 1000)


def _range(key: str, after: bytes, most: int) -> Command[list[Entry]]:
    return plain("XRANGE", key, after, "+", "COUNT", most, parse=entries, default=[])


def _groups(reply: Any) -> list[dict[str, Any]]:
    return [{name.decode(): value for name, value in zip(row[::2], row[1::2], strict=False)} for row in reply or ()]

"""How far the consumer groups of a cell's streams are behind. Bounded work, by Redis's clock."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dispatcher import errors
from dispatcher.store.schema import Keys
from dispatcher.store.pipeline import Argument, Line
from dispatcher.store.streams import STREAMS, entries

COUNTED_MAX = 1000
"""How many undelivered entries are counted where Redis does not know their number (before Redis 7)."""
_GROUPS_MAX = 100


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a group is behind: `waiting` entries are not acknowledged, the oldest since `oldest_s` seconds.

    Before Redis 7, of those that nobody has read yet at most `COUNTED_MAX` are counted.
    """

    stream: str
    group: str
    waiting: int
    oldest_s: float


class Lags:
    """Measures; raises `errors.QueueUnavailable`."""

    def __init__(self, line: Line, keys: Keys) -> None:
        self._line = line
        self._keys = keys

    async def all(self) -> list[Lag]:
        """Return the lag of every group of every stream; of a stream nobody has written to or read there is none."""
        now_ms = await self._now_ms()
        found: list[Lag] = []
        for stream in STREAMS:
            for group in list(_groups(await self._ask("XINFO", "GROUPS", self._keys(stream))))[:_GROUPS_MAX]:
                found.append(await self._lag(stream, group, now_ms))  # noqa: PERF401 - one after the other, on purpose
        return found

    async def _lag(self, stream: str, group: dict[str, Any], now_ms: int) -> Lag:
        key, name, last = self._keys(stream), group["name"], group["last-delivered-id"]
        pending, oldest_pending, *_ = await self._ask("XPENDING", key, name) or (0, None)
        undelivered = group.get("lag")
        first = entries(await self._ask("XRANGE", key, b"(" + last, "+", "COUNT", 1))
        if not isinstance(undelivered, int):
            undelivered = len(await self._ask("XRANGE", key, b"(" + last, "+", "COUNT", COUNTED_MAX)) if first else 0
        since = [entry.id for entry in first] + ([oldest_pending.decode()] if oldest_pending else [])
        oldest_ms = min((int(entry_id.partition("-")[0]) for entry_id in since), default=now_ms)
        return Lag(stream, name.decode(errors="replace"), pending + undelivered, max(0, now_ms - oldest_ms) / 1000)

    async def _now_ms(self) -> int:
        seconds, microseconds = await self._line.command("TIME")
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def _ask(self, command: str, *arguments: Argument) -> Any:
        """Ask for a raw reply; nothing where the key is no stream, or stream or group are not there."""
        try:
            # a name in bytes is known to none of redis-py's callbacks for replies, which differ between versions
            return await self._line.command(command.encode(), *arguments)
        except errors.QueueBroken:
            return []
        except errors.QueueUnavailable as exc:
            if "ResponseError" in exc.reason:
                return []
            raise


def _groups(reply: Any) -> Iterator[dict[str, Any]]:
    for row in reply or ():
        yield {name.decode(): value for name, value in zip(row[::2], row[1::2], strict=False)}

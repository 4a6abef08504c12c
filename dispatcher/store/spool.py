"""A stream that several processes work off together, each entry at least once. Knows nothing of what entries mean."""

from collections.abc import Sequence
from dataclasses import dataclass

from dispatcher.store.pipeline import Line
from dispatcher.store.scripts import script
from dispatcher.store.work import US

GROUP = "dispatcher"
_OUTDATED_A_CALL = 200
_LONG_AGO_MS = 86_400_000
_GONE_MS = 3_600_000
_NEW_ONLY = -1


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry; `deliveries` counts how often it was handed out, this time included."""

    id: bytes
    fields: dict[bytes, bytes]
    deliveries: int = 1


class Spool:
    """One process's hold of a stream; calls raise `errors.QueueUnavailable`, `share` must have been called before."""

    def __init__(self, line: Line, key: str, process: str) -> None:
        self._line = line
        self._key = key
        self._process = process

    async def share(self) -> None:
        """See that the stream and the group of its processes are there."""
        await self._line.call(script("share"), (self._key,), (GROUP,))

    async def draw(self, most: int, idle_s: float | None = None) -> list[Entry]:
        """Take entries that nobody has yet; with `idle_s` also such as somebody has left for so long."""
        idle_ms = _NEW_ONLY if idle_s is None else round(idle_s * 1000)
        args = (GROUP, self._process, most, idle_ms)
        return [
            Entry(id_, dict(zip(flat[::2], flat[1::2], strict=False)), deliveries)
            for id_, deliveries, flat in await self._line.call(script("draw"), (self._key,), args)
        ]

    async def hold(self, ids: Sequence[bytes]) -> None:
        """Say that entries are still being worked on, so that nobody takes them over."""
        await self._held_since(0, ids)

    async def give_back(self, ids: Sequence[bytes]) -> None:
        """Let anybody take entries over at once."""
        await self._held_since(_LONG_AGO_MS, ids)

    async def finish(self, ids: Sequence[bytes]) -> None:
        """Take entries out for good."""
        if ids:
            await self._line.call(script("finish"), (self._key,), (GROUP, *ids))

    async def outdate(self, kept_s: float) -> int:
        """Give up entries that are older than that; how many there were."""
        total = 0
        while True:
            args = (GROUP, round(kept_s * US), _OUTDATED_A_CALL)
            count = int(await self._line.call(script("outdate"), (self._key,), args))
            total += count
            if count < _OUTDATED_A_CALL:
                return total

    async def dismiss(self) -> None:
        """Forget processes that hold nothing and were not heard of for an hour."""
        await self._line.call(script("dismiss"), (self._key,), (GROUP, _GONE_MS))

    async def _held_since(self, ago_ms: int, ids: Sequence[bytes]) -> None:
        if ids:
            await self._line.call(script("hold"), (self._key,), (GROUP, self._process, ago_ms, *ids))

"""Follows in Redis how the messages stand, by the cell's events, and who serves which number; changes nothing."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from dispatcher.client import REDIS_TIMEOUT_S
from dispatcher.lab.chronicle import UNCERTAIN, Chronicle
from dispatcher.store import cell as cells
from dispatcher.store import numbers, streams
from dispatcher.store.cell import Counts, Sending
from dispatcher.store.connection import connect
from dispatcher.store.health import server_time
from dispatcher.store.pipeline import Pipeline
from dispatcher.store.schema import US, Cell

_EVENTS_A_CALL: Final = 1000
_CLOSE_ENOUGH_S: Final = 0.0005
_TRIES: Final = 50


@dataclass(frozen=True, slots=True)
class Gate:
    """A number's gate: who serves it, and why it is closed, if it is."""

    owner: str = ""
    why: str = ""


class Watch:
    """How the messages stand, as of the last `look`."""

    def __init__(self, pipeline: Pipeline, cell: Cell, numbers: Sequence[str]) -> None:
        self.gates: dict[str, Gate] = dict.fromkeys(numbers, Gate())
        self.chronicle = Chronicle()
        self._pipeline = pipeline
        self._cell = cell
        self._last_event = streams.OLDEST
        self._ahead_s = 0.0

    async def set_clock(self) -> None:
        """Find out how Redis's clock stands to ours: its time lies between our question and its answer."""
        for _ in range(_TRIES):
            before_s = time.monotonic()
            server_s = await self._pipeline.run(server_time()) / US
            after_s = time.monotonic()
            self._ahead_s = server_s - (before_s + after_s) / 2
            if after_s - before_s < _CLOSE_ENOUGH_S:
                break

    async def look(self) -> None:
        """Read the events since the last look, and the gates."""
        while await self._read_events() == _EVENTS_A_CALL:
            pass
        around = await self._pipeline.follow(cells.around(self._cell))
        known = await self._pipeline.run_all([numbers.get(self._cell, number) for number in self.gates])
        for standing in await self._pipeline.follow(cells.standings(self._cell, known, around)):
            why = standing.gate_why or "closed"
            self.gates[standing.number.id] = Gate(standing.owner, why if standing.streak > 0 else "")

    async def workers(self) -> int:
        """Return how many worker processes have said that they serve numbers."""
        return len((await self._pipeline.follow(cells.around(self._cell))).processes)

    async def counts(self) -> Counts:
        """Return what is under way, and what waits outside the lanes."""
        return await self._pipeline.follow(cells.counts(self._cell))

    async def sending(self) -> dict[str, Sending]:
        """Return every message that is under way, by key."""
        return {each.key: each for each in await self._pipeline.follow(cells.sending(self._cell))}

    def is_settled(self, key: str) -> bool:
        """Whether nothing more will be posted of the message."""
        return self.chronicle.state(key) not in {"", UNCERTAIN}

    def has_landed(self, key: str) -> bool:
        """Whether the message is settled or uncertain."""
        return bool(self.chronicle.state(key))

    def uncertain(self) -> set[tuple[str, str]]:
        """Return of which numbers messages of which kind are uncertain."""
        counts = self.chronicle.counts.items()
        return {(number, kind) for (number, kind, state), count in counts if state == UNCERTAIN and count}

    def resolved(self) -> int:
        """Return how many uncertain sends are so no more."""
        return sum(doubt.decided_at_s is not None for doubt in self.chronicle.doubts)

    def receipts(self, status: str, number: str | None = None) -> int:
        """Return how many receipts of this status there are, of one number or of all."""
        counts = self.chronicle.receipt_counts.items()
        return sum(count for (own, kind), count in counts if kind == status and number in {None, own})

    def total(self, state: str, number: str | None = None, kind: str | None = None) -> int:
        """Return how many messages are in this state, of one number or kind or of all; receipts do not change it."""
        return sum(
            count
            for (of_number, of_kind, of_state), count in self.chronicle.counts.items()
            if of_state == state and number in {None, of_number} and kind in {None, of_kind}
        )

    async def _read_events(self) -> int:
        command = streams.after(self._cell, "events", self._last_event, _EVENTS_A_CALL)
        entries = await self._pipeline.run(command)
        for entry in entries:
            self._last_event = entry.id
            event = entry.fields or {}
            self.chronicle.note(event, int(event["at"]) / 1000 - self._ahead_s)
        return len(entries)


@asynccontextmanager
async def watching(redis_url: str, numbers: Sequence[str]) -> AsyncIterator[Watch]:
    """Connect a watch."""
    cell = Cell()
    redis = connect(redis_url, cell, timeout_s=REDIS_TIMEOUT_S)
    pipeline = Pipeline(redis)
    try:
        watch = Watch(pipeline, cell, numbers)
        await watch.set_clock()
        yield watch
    finally:
        await pipeline.idle()
        await redis.aclose()

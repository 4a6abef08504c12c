"""What happened when: how each message stands by the cell's events, and who serves which number. Changes nothing."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

from dispatcher.client import REDIS_TIMEOUT_S
from dispatcher.lab.evidence import UncertainSend, Way, kind_of
from dispatcher.store import cell as cells
from dispatcher.store import numbers, streams
from dispatcher.store.cell import Counts, Sending, Standing
from dispatcher.store.connection import connect
from dispatcher.store.health import server_time
from dispatcher.store.pipeline import Pipeline
from dispatcher.store.schema import US, Cell

UNCERTAIN: Final = "uncertain"
ACCEPTED: Final = "accepted"
_RESENT: Final = "resend"
_WAITING: Final = frozenset({"retry", "snoozed", _RESENT})
_RECEIPTS: Final = frozenset({"sent", "delivered", "read", "played", "failed"})
_NO_STATES: Final = _RECEIPTS | {"duplicate"}
_EVENTS_A_CALL: Final = 1000
_CLOSE_ENOUGH_S: Final = 0.0005
_TRIES: Final = 50


class Timeline:
    """How it stands after the events so far; knows no Redis.

    `counts` are messages by number, kind and state, where an accepted one stays accepted whatever receipts say;
    `receipt_counts` are receipts by number and status. `accepted_by_receipt` are the messages whose acceptance became
    known by a receipt, not by an answer.
    """

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self.receipt_counts: Counter[tuple[str, str]] = Counter()
        self.receipts: dict[str, set[str]] = {}
        self.accepted_by_receipt: set[str] = set()
        self._states: dict[str, str] = {}
        self._accepted_at: dict[str, str] = {}
        self._uncertain: dict[str, list[UncertainSend]] = {}

    @property
    def uncertain_sends(self) -> tuple[UncertainSend, ...]:
        """Every uncertain send, in the order in which they became so."""
        found = (send for sends in self._uncertain.values() for send in sends)
        return tuple(sorted(found, key=lambda send: send.at_s))

    def is_settled(self, key: str) -> bool:
        """Whether nothing more will be posted of the message."""
        return self.state(key) not in {"", UNCERTAIN}

    def uncertain(self) -> set[tuple[str, str]]:
        """Return of which numbers messages of which kind are uncertain."""
        return {(number, kind) for (number, kind, state), count in self.counts.items() if state == UNCERTAIN and count}

    def resolved(self) -> int:
        """Return how many uncertain sends are so no more."""
        return sum(send.decided_at_s is not None for send in self.uncertain_sends)

    def receipts_of(self, status: str, number: str | None = None) -> int:
        """Return how many receipts of this status there are, of one number or of all."""
        counts = self.receipt_counts.items()
        return sum(count for (own, kind), count in counts if kind == status and number in {None, own})

    def total(self, state: str, number: str | None = None, kind: str | None = None) -> int:
        """Return how many messages are in this state, of one number or kind or of all; receipts do not change it."""
        return sum(
            count
            for (of_number, of_kind, of_state), count in self.counts.items()
            if of_state == state and number in {None, of_number} and kind in {None, of_kind}
        )

    def state(self, key: str) -> str:
        """Return how a message stands; empty if nothing was heard of it, or if it waits again."""
        state = self._states.get(key, "")
        return "" if state in _WAITING else state

    def note(self, event: Mapping[str, str], at_s: float) -> None:
        """Add an event, which happened at `at_s`."""
        kind, key, number = event["type"], event["key"], event["number"]
        if kind in _RECEIPTS:
            self._note_receipt(event)
        if kind in _NO_STATES:
            return
        if before := self._states.get(key):
            self.counts[number, kind_of(key), before] -= 1
        self._states[key] = kind
        self.counts[number, kind_of(key), kind] += 1
        if kind == ACCEPTED:
            self._accepted_at[key] = event["at"]
        self._note_uncertain(event, at_s)

    def _note_receipt(self, event: Mapping[str, str]) -> None:
        key, status = event["key"], event["type"]
        if status not in self.receipts.setdefault(key, set()):
            self.receipts[key].add(status)
            self.receipt_counts[event["number"], status] += 1
        # one script tells of a receipt and of the acceptance that it proves, so both have the same time
        if len(self.receipts[key]) == 1 and self._accepted_at.get(key) == event["at"]:
            self.accepted_by_receipt.add(key)
            if (sends := self._uncertain.get(key)) and sends[-1].way is Way.OTHERWISE:
                sends[-1] = replace(sends[-1], way=Way.RECEIPT)

    def _note_uncertain(self, event: Mapping[str, str], at_s: float) -> None:
        kind, key = event["type"], event["key"]
        sends = self._uncertain.get(key, [])
        if sends and sends[-1].ended_at_s is None:
            sends[-1] = _moved(sends[-1], event, at_s)
        if kind == UNCERTAIN:
            self._uncertain.setdefault(key, sends).append(UncertainSend(key, at_s, event["error"]))


def _moved(send: UncertainSend, event: Mapping[str, str], at_s: float) -> UncertainSend:
    """Return what an event of its message makes of an uncertain send that has not ended."""
    if event["type"] == _RESENT:
        way = Way.ABSENCE if event["cause"] == Way.ABSENCE else Way.UNPROVEN
        return replace(send, way=way, decided_at_s=at_s)
    if event["type"] in _WAITING:
        return send
    if send.way is not Way.OPEN:
        return replace(send, ended_at_s=at_s)
    is_held = event["type"] == "dead" and event["cause"] == Way.HELD
    way, why = (Way.HELD, event["error"]) if is_held else (Way.OTHERWISE, "")
    return replace(send, way=way, decided_at_s=at_s, ended_at_s=at_s, why=why)


class CellWatcher:
    """Follows a cell: `timeline` and `standings` (by number) are as of the last `look`."""

    def __init__(self, pipeline: Pipeline, cell: Cell, numbers: Sequence[str]) -> None:
        self.timeline = Timeline()
        self.standings: dict[str, Standing] = {}
        self._numbers = numbers
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
        """Read the events since the last look, and how the numbers stand."""
        while await self._read_events() == _EVENTS_A_CALL:
            pass
        around = await self._pipeline.follow(cells.around(self._cell))
        known = await self._pipeline.run_all([numbers.get(self._cell, number) for number in self._numbers])
        found = await self._pipeline.follow(cells.standings(self._cell, known, around))
        self.standings = {standing.number.id: standing for standing in found}

    async def workers(self) -> int:
        """Return how many worker processes have said that they serve numbers."""
        return len((await self._pipeline.follow(cells.around(self._cell))).processes)

    async def counts(self) -> Counts:
        """Return what is under way, and what waits outside the lanes."""
        return await self._pipeline.follow(cells.counts(self._cell))

    async def sending(self) -> dict[str, Sending]:
        """Return every message that is under way, by key."""
        return {each.key: each for each in await self._pipeline.follow(cells.sending(self._cell))}

    async def _read_events(self) -> int:
        command = streams.after(self._cell, "events", self._last_event, _EVENTS_A_CALL)
        entries = await self._pipeline.run(command)
        for entry in entries:
            self._last_event = entry.id
            event = entry.fields or {}
            self.timeline.note(event, int(event["at"]) / 1000 - self._ahead_s)
        return len(entries)


@asynccontextmanager
async def watching(redis_url: str, numbers: Sequence[str], cell: Cell | None = None) -> AsyncIterator[CellWatcher]:
    """Connect to a cell, to follow these numbers."""
    cell = cell or Cell()
    redis = connect(redis_url, cell, timeout_s=REDIS_TIMEOUT_S)
    pipeline = Pipeline(redis)
    try:
        watcher = CellWatcher(pipeline, cell, numbers)
        await watcher.set_clock()
        yield watcher
    finally:
        await pipeline.idle()
        await redis.aclose()

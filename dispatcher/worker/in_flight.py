"""What this process has in flight, and the outcomes of its last minute.

A Redis that lost its last second may hand out again what we posted already. What is written down here is told to it
again after every reconnect, before anything is claimed, and whatever is claimed is looked up here before it is posted.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from dispatcher.store.pipeline import Argument
from dispatcher.store.work import Claimed, Settlement

# Longer than a replica that may be promoted can lag behind, or an append-only file can lack.
KEPT_S = 60.0


@dataclass(slots=True)
class Flight:
    """A message between its claim and its outcome; `claimed_at_us` by Redis's clock, `turn_at` by ours (seconds)."""

    message: Claimed
    number: str
    claimed_at_us: int
    turn_at: float = 0.0


class Flights:
    """Departures and landings of one process; `clock` gives seconds that never step back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._flying: dict[str, Flight] = {}
        # Flat tuples of plain values, which the garbage collector leaves alone: a minute of a fast number are 60,000
        # outcomes, and a pause to look through them would hold back POSTs and let them out in a burst.
        self._landed: dict[str, tuple[Argument, ...]] = {}
        self._settled_at: dict[str, float] = {}
        self._of_number: Counter[str] = Counter()
        self._moved: dict[str, asyncio.Event] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._flying)

    def of_number(self, number: str) -> int:
        """Count what the number has in flight."""
        return self._of_number[number]

    def depart(self, flight: Flight) -> None:
        """Write down that the message is in our hands."""
        self._flying[flight.message.key] = flight
        self._of_number[flight.number] += 1
        self._empty.clear()

    def land(self, settlement: Settlement) -> None:
        """Write down what became of it; kept until it is settled, and a minute longer."""
        key = settlement.message.key
        if self._flying.pop(key, None) is not None:
            self._of_number[settlement.number] -= 1
            if not self._of_number[settlement.number]:
                del self._of_number[settlement.number]
            if moved := self._moved.pop(settlement.number, None):
                moved.set()
            if not self._flying:
                self._empty.set()
        self._landed[key] = settlement.as_arguments()
        self._settled_at.pop(key, None)

    def settled(self, settlement: Settlement) -> None:
        """Redis knows it; forget it in a minute."""
        key = settlement.message.key
        if self._landed.get(key) == settlement.as_arguments():
            self._settled_at.pop(key, None)  # so that the order is that of settling
            self._settled_at[key] = self._clock()

    def has_unsettled(self) -> bool:
        """Whether Redis has yet to hear of an outcome."""
        return len(self._landed) > len(self._settled_at)

    def forget(self) -> None:
        """Drop what was settled more than a minute ago."""
        horizon = self._clock() - KEPT_S
        old = list(itertools.takewhile(lambda key: self._settled_at[key] <= horizon, self._settled_at))
        for key in old:
            del self._settled_at[key], self._landed[key]

    def adopt(self, flight: Flight) -> bool:
        """Let what is in flight already take over a new claim, so that its outcome is heard; False if it is not."""
        flying = self._flying.get(flight.message.key)
        if flying is None:
            return False
        flying.message.claim = flight.message.claim
        flying.claimed_at_us = flight.claimed_at_us
        return True

    def recall(self, flight: Flight) -> Settlement | None:
        """Return what must be settled again instead of posting what was just claimed; None if it may be posted.

        An outcome with this claim number or a later one means that Redis went back in time.
        """
        landed = self._landed.get(flight.message.key)
        if landed is None:
            return None
        known = Settlement.of(landed)
        if flight.message.claim > known.message.claim or known.outcome in {"release", "snooze", "retry"}:
            return None
        known.message.claim = flight.message.claim
        return known

    def to_tell_again(self, lease_us: int) -> Iterator[Settlement]:
        """List the outcomes of the last minute, then what is in flight and so must not be claimed by anybody."""
        yield from map(Settlement.of, list(self._landed.values()))
        for flight in list(self._flying.values()):
            message = replace(flight.message, body=b"")
            yield Settlement(message, flight.number, flight.claimed_at_us, "flying", value=lease_us)

    async def movement(self, number: str, timeout_s: float) -> None:
        """Wait until something of the number has landed, `timeout_s` seconds at most."""
        moved = self._moved.setdefault(number, asyncio.Event())
        try:
            async with asyncio.timeout(timeout_s):
                await moved.wait()
        except TimeoutError:
            pass

    async def empty(self) -> None:
        """Wait until nothing is in flight."""
        await self._empty.wait()

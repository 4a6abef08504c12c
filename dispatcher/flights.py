"""What this process has in flight, and the outcomes of its last minute.

A Redis that lost its last second may hand out again what we posted already. What is written down here is told to it
again after every reconnect, before anything is claimed, and whatever is claimed is looked up here before it is posted.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from dispatcher.lanes.serving import Claimed, Settlement

# Longer than a replica that may be promoted can lag behind, or an append-only file can lack.
KEPT_S = 60.0


@dataclass(slots=True)
class Flight:
    """A message between its claim and its outcome; `claimed_at_us` by Redis's clock."""

    message: Claimed
    number: str
    claimed_at_us: int


@dataclass(slots=True)
class _Landed:
    settlement: Settlement
    settled_at: float | None = None


class Flights:
    """Departures and landings of one process; `clock` gives seconds that never step back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._flying: dict[str, Flight] = {}
        self._landed: dict[str, _Landed] = {}
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
        settlement.message.body = b""
        self._landed.pop(key, None)  # so that the order is that of landing
        self._landed[key] = _Landed(settlement)

    def settled(self, settlement: Settlement) -> None:
        """Redis knows it; forget it in a minute."""
        landed = self._landed.get(settlement.message.key)
        if landed is not None and landed.settlement is settlement:
            landed.settled_at = self._clock()

    def has_unsettled(self) -> bool:
        """Whether Redis has yet to hear of an outcome."""
        return any(landed.settled_at is None for landed in self._landed.values())

    def forget(self) -> None:
        """Drop what was settled more than a minute ago."""
        horizon = self._clock() - KEPT_S
        for key, landed in list(self._landed.items()):
            if landed.settled_at is None:
                continue
            if landed.settled_at > horizon:
                break
            del self._landed[key]

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
        message = flight.message
        landed = self._landed.get(message.key)
        if landed is None or message.claim > landed.settlement.message.claim:
            return None
        if landed.settlement.outcome in {"release", "snooze", "retry"}:
            return None
        landed.settlement.message.claim = message.claim
        return landed.settlement

    def to_tell_again(self, lease_us: int) -> Iterator[Settlement]:
        """List the outcomes of the last minute, then what is in flight and so must not be claimed by anybody."""
        for landed in list(self._landed.values()):
            yield landed.settlement
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

"""Settles outcomes in batches that form by themselves: what lands while a settle is under way goes out with the next.

A lone message is settled at once, and full batches do not wait for each other. Knows nothing of why an outcome is what
it is.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from dispatcher import errors
from dispatcher.worker.in_flight import Flights
from dispatcher.store.work import SETTLED_A_CALL, Serving, Settlement

CALLS_AT_ONCE = 3

Heard = Callable[[Settlement, str], None]


class Settler:
    """One a process. `on_settled` hears what each message became; `on_trouble` that Redis did not answer.

    What `on_settled` raises is the event loop's to report: it runs in a callback of its own.
    """

    def __init__(self, serving: Serving, flights: Flights, on_settled: Heard, on_trouble: Callable[[], None]) -> None:
        self._serving = serving
        self._flights = flights
        self._on_settled = on_settled
        self._on_trouble = on_trouble
        self._waiting: deque[Settlement] = deque()
        self._calls: set[asyncio.Task[None]] = set()

    def put(self, settlement: Settlement) -> None:
        """Take an outcome; it is settled as soon as Redis answers."""
        self._flights.land(settlement)
        self._waiting.append(settlement)
        is_full = len(self._waiting) >= SETTLED_A_CALL and len(self._calls) < CALLS_AT_ONCE
        if is_full or not self._calls:
            self._calls.add(asyncio.create_task(self._settle_waiting()))

    @property
    def is_busy(self) -> bool:
        """Whether anything that was put is not settled yet."""
        return bool(self._waiting or self._calls) or self._flights.has_unsettled()

    async def drain(self) -> None:
        """Wait until all that was put is settled or Redis has failed to answer."""
        while self._calls:
            await asyncio.wait(self._calls)

    async def tell_again(self, lease_us: int) -> None:
        """Settle the last minute again and reclaim what is in flight, after Redis was away.

        Raises:
            QueueUnavailable: it is away again.
        """
        self._waiting.clear()  # it is part of the last minute
        again = list(self._flights.to_tell_again(lease_us))
        for at in range(0, len(again), SETTLED_A_CALL):
            await self._settle(again[at : at + SETTLED_A_CALL])

    async def _settle_waiting(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(SETTLED_A_CALL, len(self._waiting)))]
                await self._settle(batch)
        except errors.QueueUnavailable:
            self._on_trouble()  # what landed is remembered, and told again with the rest
        finally:
            # here, not once the task is done: what is put in between would find a call that takes nothing any more
            self._calls.discard(asyncio.current_task())

    async def _settle(self, batch: list[Settlement], *, is_alone: bool = False) -> None:
        """Settle a batch; an entry that meets a bug, or data that is not ours, is left to its lease, and it alone.

        Raises:
            QueueUnavailable: Redis is away.
        """
        try:
            found = list(zip(batch, await self._serving.settle(batch), strict=True))
        except Exception as exc:
            if isinstance(exc, errors.QueueUnavailable) and not isinstance(exc, errors.QueueBroken):
                raise
            if not is_alone:
                for settlement in batch:
                    await self._settle([settlement], is_alone=True)
                return
            found = [(batch[0], f"broken: {getattr(exc, 'reason', type(exc).__name__)}")]
        for settlement, word in found:
            if settlement.outcome != "flying":
                self._flights.settled(settlement)
            if word:
                asyncio.get_running_loop().call_soon(self._on_settled, settlement, word)

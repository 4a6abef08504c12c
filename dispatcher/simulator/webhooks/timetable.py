"""What is to be done and when, on one timer; does a little in each turn of the loop, so that nothing waits long."""

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

# How much is done in one turn, and how long the next turn waits at least.
MOST_AT_ONCE = 50
TICK_S = 0.001


class Timetable:
    """Calls what it was given when it is due, in that order. Use within a running event loop."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int, Callable[[], None]]] = []
        self._places = count()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, delay_s: float, do: Callable[[], None]) -> None:
        """Do this after a while."""
        loop = asyncio.get_running_loop()
        entry = (loop.time() + delay_s, next(self._places), do)
        heapq.heappush(self._entries, entry)
        if self._entries[0] is entry or self._timer is None:
            self._set()

    def clear(self) -> None:
        """Do nothing of it."""
        self._entries.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(max(self._entries[0][0], loop.time() + TICK_S), self._turn)

    def _turn(self) -> None:
        self._timer = None
        now_s = asyncio.get_running_loop().time()
        for _ in range(MOST_AT_ONCE):
            if not self._entries or self._entries[0][0] > now_s:
                break
            _, _, do = heapq.heappop(self._entries)
            do()
        if self._entries and self._timer is None:
            self._set()

"""Brings a process back after Redis was away: first it tells what it knows, then others may claim.

A Redis that comes back may be an earlier one: a replica that lagged, a file without its last second. Knows how to
wait and in which order, not what is told.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Protocol

from dispatcher import errors

_RETRY_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
# All processes come back at about the same time; this long each leaves the others to say what they have in flight.
MANNERS_S = 0.25


class Witness(Protocol):
    """Who hears of outages."""

    def lost(self) -> None:
        """Redis is away."""

    def stumbled(self, task: str, exc: Exception) -> None:
        """A bug of ours showed in a task that goes on: it is tried again."""

    def regained(self) -> None:
        """It is back, and knows again what this process knows."""


class Recovery:
    """One a process. `come_back` reconnects and tells Redis what this process knows."""

    def __init__(self, come_back: Callable[[], Awaitable[None]], witness: Witness) -> None:
        self._come_back = come_back
        self._witness = witness
        self._ready = asyncio.Event()
        self._ready.set()
        self._task: asyncio.Task[None] | None = None

    @property
    def is_away(self) -> bool:
        """Whether Redis is away, or this process not yet back."""
        return not self._ready.is_set()

    def trouble(self) -> None:
        """Take note that Redis did not answer."""
        if self._task is None:
            self._ready.clear()
            self._task = asyncio.create_task(self._recover())
            self._witness.lost()

    async def over(self) -> None:
        """Wait until this process is back."""
        await self._ready.wait()

    async def patiently(self, step: Callable[[], Awaitable[object]]) -> None:
        """Do a step that may be done twice, however long Redis is away."""
        while True:
            await self.over()
            try:
                await step()
            except errors.QueueUnavailable:
                self.trouble()
            else:
                return

    async def aclose(self) -> None:
        """Give up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _recover(self) -> None:
        delays = itertools.chain(_RETRY_S, itertools.repeat(_RETRY_S[-1]))
        try:
            while True:
                try:
                    await self._come_back()
                    await asyncio.sleep(MANNERS_S)
                    break
                except errors.QueueUnavailable:
                    pass
                except Exception as exc:  # noqa: BLE001 - giving up would leave the process waiting for ever
                    self._witness.stumbled("recovery", exc)
                await asyncio.sleep(next(delays))
            self._ready.set()
            self._witness.regained()
        finally:
            self._task = None

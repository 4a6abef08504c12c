"""Wakes those who wait for work, and lets them rest between. Knows nothing of the work."""

import asyncio
from typing import Final

_POLL_S: Final = 0.1
"""Other processes ring no bell of ours: look as often as this."""
_PAUSES_S: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)


class Sleeper:
    """Somebody who works, rests, and stops when told to."""

    def __init__(self) -> None:
        self._awake = asyncio.Event()
        self._stopped = asyncio.Event()
        self._troubles = 0

    @property
    def is_stopped(self) -> bool:
        """Whether to end."""
        return self._stopped.is_set()

    def wake(self) -> None:
        """There is work."""
        self._awake.set()

    def stop(self) -> None:
        """End, and wake up for that."""
        self._stopped.set()
        self._awake.set()

    async def rest(self, most_s: float = _POLL_S) -> None:
        """Wait for work, or for some time."""
        await self.rest_until(self._awake, most_s)
        if not self.is_stopped:
            self._awake.clear()

    async def rest_until(self, event: asyncio.Event, most_s: float) -> None:
        """Wait for an event, or for some time; whoever sets it stops this."""
        self._troubles = 0
        await _wait(event, most_s)

    async def pause(self, for_s: float | None = None) -> None:
        """Wait whatever there is to do: so long, or else longer with each pause that no rest came between."""
        if for_s is None:
            for_s = _PAUSES_S[min(self._troubles, len(_PAUSES_S) - 1)]
            self._troubles += 1
        await _wait(self._stopped, for_s)


async def _wait(event: asyncio.Event, most_s: float) -> None:
    try:
        async with asyncio.timeout(most_s):
            await event.wait()
    except TimeoutError:
        pass

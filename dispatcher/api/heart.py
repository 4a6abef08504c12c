"""The door's record: beats twice a second, says at once what the door has missed, and measures what waits behind it."""

import time
from collections.abc import Sequence
from typing import Final

from dispatcher import errors
from dispatcher.api.bell import Sleeper
from dispatcher.api.inbox import Inbox
from dispatcher.api.journal import Journal
from dispatcher.message.priority import Priority
from dispatcher.store.health import fullness
from dispatcher.store.pipeline import Pipeline
from dispatcher.store.queue import FULL_FOR

BEAT_S: Final = 0.5
"""So that a beat may be late by more than a second before the door counts as silent."""
SPACING_S: Final = 0.05
"""Between two beats, however much is missed: bad requests share a write."""
WELL_S: Final = 5.0


class Heart:
    """One a process; `hosts` are those of the URLs that webhooks are passed on to, in the order of the inbox."""

    def __init__(self, inbox: Inbox, pipeline: Pipeline, journal: Journal, hosts: Sequence[str] = ()) -> None:
        self._inbox = inbox
        self._pipeline = pipeline
        self._journal = journal
        self._hosts = hosts
        self._sleeper = Sleeper()
        self._beaten_at = float("-inf")

    @property
    def is_well(self) -> bool:
        """Whether Redis answered lately."""
        return time.monotonic() - self._beaten_at < WELL_S

    def stop(self) -> None:
        """Beat once more, and end."""
        self._sleeper.stop()
        self._inbox.gap.set()

    async def run(self) -> None:
        """Beat until stopped; what was missed is told before the end, if Redis is there."""
        is_last = False
        while not is_last:
            is_last = self._sleeper.is_stopped
            try:
                await self._beat(is_last=is_last)
            except errors.QueueUnavailable as exc:
                self._journal.away(exc)
                await self._sleeper.pause()
            except Exception as exc:  # noqa: BLE001 - a task begins here, and the door relies on it
                self._journal.failed("heart", exc)
                await self._sleeper.pause(BEAT_S)
            if not is_last:
                await self._sleeper.pause(SPACING_S)
                await self._sleeper.rest_until(self._inbox.gap, BEAT_S)

    async def _beat(self, *, is_last: bool) -> None:
        beat = await self._inbox.beat(is_last=is_last)
        self._beaten_at = time.monotonic()
        self._journal.back()
        if beat.marked:
            self._journal.missed()
        self._journal.waits(beat.webhooks, list(zip(self._hosts, beat.forwards, strict=True)))
        if self._hosts:
            # What is passed on may wait for a day; it must not take the room of messages.
            self._inbox.has_room_to_forward = await self._pipeline.run(fullness()) <= FULL_FOR[Priority.BULK]

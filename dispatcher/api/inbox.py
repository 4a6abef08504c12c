"""Stores what comes in at the webhook door, and remembers what the door has missed until Redis knows of it."""

import asyncio
from collections.abc import Sequence

from dispatcher.store import webhooks
from dispatcher.store.pipeline import Pipeline
from dispatcher.store.schema import Cell
from dispatcher.store.webhooks import Beat


class Inbox:
    """One a process of the webhook door; calls raise `errors.QueueUnavailable`.

    Any number of gaps share one write.
    """

    def __init__(self, pipeline: Pipeline, cell: Cell, process: str, forwards: Sequence[str] = ()) -> None:
        self._pipeline = pipeline
        self._cell = cell
        self._process = process
        self._forwards = [webhooks.forward_key(cell, url) for url in forwards]
        self._missed = 1  # the start: who knows what came before
        self._told = 0
        self.has_room_to_forward = True
        self.gap = asyncio.Event()
        self.gap.set()

    def missed(self) -> None:
        """Take note that the door may have missed something just now."""
        self._missed += 1
        self.gap.set()

    async def store(self, body: bytes, signature: str, content_type: str) -> bool:
        """Store a body for all who wait for it, or for none; false if there was no room to pass it on.

        One whose answer is lost may be stored twice.
        """
        missed, has_room = self._missed, self.has_room_to_forward
        forwards = self._forwards if has_room else ()
        command = webhooks.store(self._cell, body, signature, content_type, gap=self._has_gap, forwards=forwards)
        await self._pipeline.run(command)
        self._tell(missed)
        return has_room

    async def beat(self, *, is_last: bool = False) -> Beat:
        """Say that the door is there, and which gaps are not known yet; ask what waits. The last one says goodbye."""
        missed = self._missed
        beat = await self._pipeline.run(
            webhooks.beat(self._cell, self._process, gap=self._has_gap, forwards=self._forwards, is_last=is_last)
        )
        self._tell(missed)
        return beat

    @property
    def _has_gap(self) -> bool:
        return self._missed > self._told

    def _tell(self, missed: int) -> None:
        """A script that began after so many gaps has run: what came while it was under way is still to be told."""
        self._told = max(self._told, missed)
        if self._missed == self._told:
            self.gap.clear()

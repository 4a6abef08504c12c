"""Works off stored webhooks: reads them, applies what they say, and only then takes them out. All may run twice."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from dispatcher import errors
from dispatcher.api.bell import Sleeper
from dispatcher.api.journal import Journal
from dispatcher.meta.optout import CATEGORY, Words, preference
from dispatcher.meta.updates import Inbound, Notice, Preference, Receipt, Unreadable, Update
from dispatcher.meta.webhook import read
from dispatcher.policy import failed
from dispatcher.store import receipts as store
from dispatcher.store import webhooks
from dispatcher.store.pipeline import Pipeline
from dispatcher.store.receipts import Applied
from dispatcher.store.schema import Cell
from dispatcher.store.scripts import Command
from dispatcher.store.webhooks import Entry

LEFT_S: Final = 10.0
"""What a process holds for longer than this without a word is taken over."""
_LOOK_FOR_LEFT_S: Final = 1.0
DELIVERIES_MAX: Final = 3
_HOPELESS: Final = 10
_BODIES_MAX: Final = 200
_BYTES_A_DRAW: Final = 4_000_000
UPDATES_A_CALL: Final = 200

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(slots=True)
class _Mail:
    """The updates of some bodies, by kind."""

    receipts: list[Receipt] = field(default_factory=list)
    inbound: list[Inbound] = field(default_factory=list)
    preferences: list[Preference] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)

    def sort_in(self, update: Update, words: Words) -> None:
        match update:
            case Receipt():
                self.receipts.append(update)
                if update.status == "failed" and update.code == failed.OPTED_OUT and update.recipient:
                    self.preferences.append(_opted_out(update))
            case Inbound():
                self.inbound.append(update)
                if wish := preference(update, words):
                    self.preferences.append(wish)
            case Preference():
                self.preferences.append(update)
            case Notice():
                self.notices.append(update)
            case Unreadable():
                self.unreadable.append(update)


class Reception:
    """One a process; several share the work."""

    def __init__(
        self, pipeline: Pipeline, cell: Cell, process: str, words: Words, journal: Journal, *, left_s: float = LEFT_S
    ) -> None:
        self._pipeline = pipeline
        self._cell = cell
        self._stream = cell.key("webhooks")
        self._process = process
        self._words = words
        self._journal = journal
        self._left_s = left_s
        self._looked_at = float("-inf")
        self._most = 1
        self.sleeper = Sleeper()

    async def run(self) -> None:
        """Work until stopped; what was begun is ended, unless Redis is away."""
        while not self.sleeper.is_stopped:
            try:
                await self._pipeline.run(webhooks.create_group(self._cell, self._stream))
                while not self.sleeper.is_stopped:
                    await self._step()
            except errors.QueueUnavailable as exc:
                self._journal.away(exc)
                self._most = 1  # what was too much to be answered in time would be so again
                await self.sleeper.pause()
            except Exception as exc:  # noqa: BLE001 - a task begins here; nothing that is stored is lost
                self._journal.failed("reception", exc)
                await self.sleeper.pause(1.0)

    async def _step(self) -> None:
        entries = await self._pipeline.run(
            webhooks.read(self._cell, self._stream, self._process, self._most, self._left())
        )
        if not entries:
            await self.sleeper.rest()
            return
        size = sum(len(entry.fields.get(b"body", b"")) for entry in entries)
        self._most = max(1, min(_BODIES_MAX, 2 * self._most, _BYTES_A_DRAW * len(entries) // max(1, size)))
        while True:
            try:
                await self._work_off(entries)
            except errors.QueueUnavailable as exc:
                self._journal.away(exc)
                await self.sleeper.pause()
                if self.sleeper.is_stopped:
                    return
                await self._hold(entries)
            else:
                return

    def _left(self) -> float | None:
        """Look now and then for what another process has left."""
        if time.monotonic() - self._looked_at < min(_LOOK_FOR_LEFT_S, self._left_s):
            return None
        self._looked_at = time.monotonic()
        return self._left_s

    async def _hold(self, entries: Sequence[Entry]) -> None:
        try:
            ids = [entry.id for entry in entries]
            await self._pipeline.run(webhooks.hold(self._cell, self._stream, self._process, ids))
        except errors.QueueUnavailable as exc:
            self._journal.away(exc)

    async def _work_off(self, entries: Sequence[Entry]) -> None:
        """Apply all together; where that shows a bug, each alone, so that one spoils nothing for the others."""
        together = [entry for entry in entries if entry.deliveries <= DELIVERIES_MAX]
        alone = [entry for entry in entries if entry.deliveries > DELIVERIES_MAX]  # may have ended who had them before
        if len(together) == 1:
            alone, together = list(entries), []
        try:
            if together:
                await self._apply(together)
        except Exception as exc:  # noqa: BLE001 - a bug of ours, wherever it is
            _unless_away(exc)
            alone = list(entries)
        for entry in alone:
            await self._alone(entry)

    async def _alone(self, entry: Entry) -> None:
        if entry.deliveries > _HOPELESS:
            # no process came back from it
            await self._keep_aside(entry, RuntimeError())
            return
        try:
            await self._apply([entry])
        except errors.QueueBroken as exc:
            # what is wrong is in Redis, not in the body: it stays where it is
            self._journal.broken("reception", exc)
            await self._hold([entry])
        except Exception as exc:  # noqa: BLE001 - a bug of ours, wherever it is
            _unless_away(exc)
            self._journal.failed("reception", exc)
            if entry.deliveries >= DELIVERIES_MAX:
                await self._keep_aside(entry, exc)

    async def _keep_aside(self, entry: Entry, exc: Exception) -> None:
        body = entry.fields.get(b"body", b"").decode(errors="replace")
        update = Unreadable(f"internal error: {type(exc).__name__}", body, is_receipt=True)
        await self._pipeline.run(store.keep_unreadable(self._cell, [update]))
        await self._finish([entry])
        self._journal.kept_aside(exc, entry.deliveries)
        self._journal.took("unreadable", 1)

    async def _apply(self, entries: Sequence[Entry]) -> None:
        mail = _Mail()
        for entry in entries:
            for update in read(entry.fields.get(b"body", b"")):
                mail.sort_in(update, self._words)
            await asyncio.sleep(0)  # a large body takes ms to read, which no answer should wait for twice
        applied = await self._deliver(mail)
        await self._finish(entries)
        self._tell(mail, applied)

    async def _finish(self, entries: Sequence[Entry]) -> None:
        if entries:
            await self._pipeline.run(webhooks.finish(self._cell, self._stream, [entry.id for entry in entries]))

    async def _deliver(self, mail: _Mail) -> list[Applied]:
        applied = await self._bring(store.apply, mail.receipts)
        await self._bring(store.inbound, mail.inbound)
        await self._bring(store.prefer, mail.preferences)
        await self._bring(store.notice, mail.notices)
        await self._bring(store.keep_unreadable, mail.unreadable)
        return [each for part in applied for each in part]

    async def _bring(self, to: Callable[[Cell, Sequence[_T]], Command[_R]], updates: Sequence[_T]) -> list[_R]:
        """Bring updates of one kind to the cell, part by part, so that others are served in between."""
        parts = [updates[at : at + UPDATES_A_CALL] for at in range(0, len(updates), UPDATES_A_CALL)]
        return [await self._pipeline.run(to(self._cell, part)) for part in parts]

    def _tell(self, mail: _Mail, applied: Sequence[Applied]) -> None:
        self._journal.back()
        for receipt, change in zip(mail.receipts, applied, strict=True):
            self._journal.received(receipt, change)
        self._journal.took("inbound", len(mail.inbound))
        self._journal.took("preference", len(mail.preferences))
        self._journal.took("notice", len(mail.notices))
        self._journal.took("unreadable", len(mail.unreadable))


def _unless_away(exc: Exception) -> None:
    """Raise what is Redis's trouble of the moment again."""
    if isinstance(exc, errors.QueueUnavailable) and not isinstance(exc, errors.QueueBroken):
        raise exc


def _opted_out(receipt: Receipt) -> Preference:
    return Preference(
        recipient=receipt.recipient,
        number=receipt.number,
        waba=receipt.waba,
        category=CATEGORY,
        stops=True,
        at_s=receipt.at_s,
        reason=receipt.error,
    )

"""Works off stored webhooks: reads them, applies what they say, and only then takes them out. All may run twice."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

from dispatcher import errors
from dispatcher.api.journal import ApiJournal
from dispatcher.meta.optout import CATEGORY, Words, preference
from dispatcher.meta.webhook import Inbound, Notice, Preference, Receipt, Unreadable, Update, read
from dispatcher.policy import codes
from dispatcher.store import receipts as store
from dispatcher.store import webhooks
from dispatcher.store.pipeline import Pipeline
from dispatcher.store.schema import Cell
from dispatcher.store.scripts import Command
from dispatcher.store.webhooks import StoredWebhook

TAKE_OVER_AFTER_S: Final = 10.0
"""What a process holds for longer than this without a word is taken over."""
DELIVERIES_MAX: Final = 3
UPDATES_A_CALL: Final = 200
_TAKE_OVER_EVERY_S: Final = 1.0
_DELIVERIES_BEFORE_UNTRIED: Final = 10
_BODIES_MAX: Final = 200
_BYTES_A_READ: Final = 4_000_000
_POLL_S: Final = 0.1
"""Other processes cannot wake us: look as often as this."""
_BUG_PAUSE_S: Final = 1.0
_BACKOFFS_S: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)

_T = TypeVar("_T")
_R = TypeVar("_R")


class Loop:
    """Work that is repeated until it is stopped, whatever Redis or a bug of ours does to it; a subclass has `run`."""

    def __init__(self, name: str, journal: ApiJournal) -> None:
        self._name = name
        self._journal = journal
        self._awake = asyncio.Event()
        self._stopped = asyncio.Event()
        self._failures = 0

    @property
    def is_stopped(self) -> bool:
        """Whether to end."""
        return self._stopped.is_set()

    def wake(self) -> None:
        """Say that there is work."""
        self._awake.set()

    def stop(self) -> None:
        """End after what is being done now."""
        self._stopped.set()
        self._awake.set()

    async def repeat(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work until stopped."""
        while not self.is_stopped:
            await self.attempt(work)

    async def attempt(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work once; where it fails, say so and wait a little."""
        try:
            await work()
        except errors.QueueUnavailable as exc:
            await self.back_off(exc)
        except Exception as exc:  # noqa: BLE001 - a task begins here; nothing that is stored is lost
            self._journal.failed(self._name, exc)
            await self.pause(_BUG_PAUSE_S)

    async def wait(self, most_s: float = _POLL_S) -> None:
        """Wait for work, or for some time."""
        self._failures = 0
        await _wait(self._awake, most_s)
        if not self.is_stopped:
            self._awake.clear()

    async def pause(self, for_s: float) -> None:
        """Wait for some time, whatever there is to do; not once stopped."""
        await _wait(self._stopped, for_s)

    async def back_off(self, exc: errors.QueueUnavailable) -> None:
        """Give Redis time: longer with each failure since the last `wait`."""
        self._journal.redis_lost(exc)
        for_s = _BACKOFFS_S[min(self._failures, len(_BACKOFFS_S) - 1)]
        self._failures += 1
        await self.pause(for_s)


async def _wait(event: asyncio.Event, most_s: float) -> None:
    try:
        async with asyncio.timeout(most_s):
            await event.wait()
    except TimeoutError:
        pass


class WebhookWorker(Loop):
    """One a process; several share the work."""

    def __init__(
        self,
        pipeline: Pipeline,
        cell: Cell,
        process: str,
        words: Words,
        journal: ApiJournal,
        *,
        take_over_after_s: float = TAKE_OVER_AFTER_S,
    ) -> None:
        super().__init__("webhook_worker", journal)
        self._pipeline = pipeline
        self._cell = cell
        self._stream = cell.key("webhooks")
        self._process = process
        self._words = words
        self._take_over_after_s = take_over_after_s
        self._looked_at = float("-inf")
        self._most = 1
        self._done: list[bytes] = []  # goes out with the next read

    async def run(self) -> None:
        """Work until stopped; what was begun is ended, unless Redis is away."""
        await self.repeat(self._work)
        if self._done:
            with suppress(errors.QueueUnavailable):  # then it is applied again, which changes nothing
                await self._pipeline.run(webhooks.finish(self._cell, self._stream, self._done))

    async def _work(self) -> None:
        self._most = 1  # what was too much to be answered in time would be so again
        await self._pipeline.run(webhooks.create_group(self._cell, self._stream))
        while not self.is_stopped:
            await self._step()

    async def _step(self) -> None:
        done = list(self._done)
        command = webhooks.read(self._cell, self._stream, self._process, self._most, self._idle_s(), done=done)
        entries = await self._pipeline.run(command)
        del self._done[: len(done)]
        if not entries:
            await self.wait()
            return
        size = sum(len(_body(entry)) for entry in entries)
        self._most = max(1, min(_BODIES_MAX, 2 * self._most, _BYTES_A_READ * len(entries) // max(1, size)))
        while True:
            try:
                await self._work_off(entries)
            except errors.QueueUnavailable as exc:
                await self.back_off(exc)
                if self.is_stopped:
                    return
                await self._hold(entries)
            else:
                return

    def _idle_s(self) -> float | None:
        """Look now and then also for what another process has left for so long."""
        if time.monotonic() - self._looked_at < min(_TAKE_OVER_EVERY_S, self._take_over_after_s):
            return None
        self._looked_at = time.monotonic()
        return self._take_over_after_s

    async def _hold(self, entries: Sequence[StoredWebhook]) -> None:
        try:
            ids = [entry.id for entry in entries]
            await self._pipeline.run(webhooks.hold(self._cell, self._stream, self._process, ids))
        except errors.QueueUnavailable as exc:
            self._journal.redis_lost(exc)

    async def _work_off(self, entries: Sequence[StoredWebhook]) -> None:
        """Apply all together; where that shows a bug, each alone, so that one spoils nothing for the others."""
        together = [entry for entry in entries if entry.deliveries <= DELIVERIES_MAX]
        alone = [entry for entry in entries if entry.deliveries > DELIVERIES_MAX]  # may have ended who had them before
        if len(together) == 1:
            alone, together = list(entries), []
        try:
            if together:
                await self._apply(together)
        except Exception as exc:  # noqa: BLE001 - a bug of ours, wherever it is
            _raise_if_away(exc)
            alone = list(entries)
        for entry in alone:
            await self._work_off_alone(entry)

    async def _work_off_alone(self, entry: StoredWebhook) -> None:
        if entry.deliveries > _DELIVERIES_BEFORE_UNTRIED:
            # no process came back from it
            await self._keep_aside(entry, RuntimeError())
            return
        try:
            await self._apply([entry])
        except errors.QueueBroken as exc:
            # what is wrong is in Redis, not in the body: it stays where it is
            self._journal.redis_broken(self._name, exc)
            await self._hold([entry])
        except Exception as exc:  # noqa: BLE001 - a bug of ours, wherever it is
            _raise_if_away(exc)
            self._journal.failed(self._name, exc)
            if entry.deliveries >= DELIVERIES_MAX:
                await self._keep_aside(entry, exc)

    async def _keep_aside(self, entry: StoredWebhook, exc: Exception) -> None:
        body = _body(entry).decode(errors="replace")
        update = Unreadable(f"internal error: {type(exc).__name__}", body, is_receipt=True)
        await self._pipeline.run(store.keep_unreadable(self._cell, [update]))
        self._done.append(entry.id)
        self._journal.kept_aside(exc, entry.deliveries)
        self._journal.updates_applied("unreadable", 1)

    async def _apply(self, entries: Sequence[StoredWebhook]) -> None:
        """Bring what the bodies say to the cell, kind by kind; then they are done with."""
        updates: list[Update] = []
        for entry in entries:
            for update in read(_body(entry)):
                updates.append(update)
                if (wish := _preference(update, self._words)) is not None:
                    updates.append(wish)
            await asyncio.sleep(0)  # a large body takes ms to read, which no answer should wait for twice
        receipts = _of_kind(updates, Receipt)
        applied = [each for part in await self._call(store.apply, receipts) for each in part]
        inbound, preferences = _of_kind(updates, Inbound), _of_kind(updates, Preference)
        await self._call(store.inbound, inbound)
        await self._call(store.prefer, preferences)
        notices, unreadable = _of_kind(updates, Notice), _of_kind(updates, Unreadable)
        await self._call(store.notice, notices)
        await self._call(store.keep_unreadable, unreadable)
        self._done += [entry.id for entry in entries]
        self._journal.redis_regained()
        for receipt, change in zip(receipts, applied, strict=True):
            self._journal.receipt_applied(receipt, change)
        self._journal.updates_applied("inbound", len(inbound))
        self._journal.updates_applied("preference", len(preferences))
        self._journal.updates_applied("notice", len(notices))
        self._journal.updates_applied("unreadable", len(unreadable))

    async def _call(self, command: Callable[[Cell, Sequence[_T]], Command[_R]], updates: Sequence[_T]) -> list[_R]:
        """Bring updates of one kind to the cell, part by part, so that others are served in between."""
        parts = [updates[at : at + UPDATES_A_CALL] for at in range(0, len(updates), UPDATES_A_CALL)]
        return [await self._pipeline.run(command(self._cell, part)) for part in parts]


def _body(entry: StoredWebhook) -> bytes:
    return entry.fields.get(b"body", b"")


def _of_kind(updates: Sequence[Update], kind: type[_T]) -> list[_T]:
    return [update for update in updates if isinstance(update, kind)]


def _raise_if_away(exc: Exception) -> None:
    """Raise what is Redis's trouble of the moment again."""
    if isinstance(exc, errors.QueueUnavailable) and not isinstance(exc, errors.QueueBroken):
        raise exc


def _preference(update: Update, words: Words) -> Preference | None:
    """Return the wish that follows from another update: an opt-out word, or a failure because of an opt-out."""
    if isinstance(update, Inbound):
        return preference(update, words)
    if not isinstance(update, Receipt) or update.status != "failed" or update.code != codes.OPTED_OUT:
        return None
    if not update.recipient:
        return None
    return Preference(
        recipient=update.recipient,
        number=update.number,
        waba=update.waba,
        category=CATEGORY,
        stops=True,
        at_s=update.at_s,
        reason=update.error,
    )

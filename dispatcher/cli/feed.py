"""Queues the lines of a file: a few calls at once, each line by itself, and patience where Redis is full."""

import asyncio
import base64
import hashlib
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from dispatcher import errors
from dispatcher.cli.bar import Bar
from dispatcher.cli.jsonlines import Line, read
from dispatcher.cli.tally import Tally
from dispatcher.client import Dispatcher
from dispatcher.message.message import Message, fingerprint

# One call is one script, during which nobody else is served; several hide the way to Redis behind our own work.
_LINES_A_CALL: Final = 50
_CALLS_AT_ONCE: Final = 4
_FULL_POLL_S: Final = 1.0
# Where a line has one of these, the default of the other must not come beside it.
_INSTEAD: Final[Mapping[str, str]] = {"number": "phone_number_id", "ttl_s": "expires_at"}

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for all lines: fields for those without, the batch that gives keys, and the patience in seconds."""

    defaults: Mapping[str, Any]
    batch: str | None
    wait_s: float


@dataclass(frozen=True, slots=True)
class _Entry:
    line: int
    message: Message


class Feed:
    """Sends lines and counts them in `tally`."""

    def __init__(self, dispatcher: Dispatcher, terms: Terms, tally: Tally, bar: Bar) -> None:
        self._dispatcher = dispatcher
        self._terms = terms
        self._tally = tally
        self._bar = bar
        self._places = asyncio.Semaphore(_CALLS_AT_ONCE)
        self._full_since: float | None = None

    async def run(self, blocks: AsyncIterator[list[Line]]) -> None:
        """Queue all lines; no more are read than are being sent. What is under way is counted before this ends.

        Raises:
            QueueFull: there was no room for any line during the patience.
            QueueUnavailable: Redis did not answer.
        """
        try:
            async with asyncio.TaskGroup() as group:
                async for lines in blocks:
                    for at in range(0, len(lines), _LINES_A_CALL):
                        await self._places.acquire()
                        group.create_task(self._send(lines[at : at + _LINES_A_CALL]))
        except BaseExceptionGroup as exc:
            raise exc.exceptions[0] from None

    async def _send(self, lines: Sequence[Line]) -> None:
        try:
            read = [await self._entry(line) for line in lines]
            entries = [entry for entry in read if entry]
            while entries:
                entries = await _answered(self._offer(entries))
                if entries:
                    await self._wait_for_room()
            size = sum(line.size for line in lines)
            self._bar.advance(size, f"{self._tally.queued:,} queued, {self._tally.refused:,} refused")
        finally:
            self._places.release()

    async def _entry(self, line: Line) -> _Entry | None:
        if line.is_blank:
            return None
        self._tally.lines += 1
        try:
            return _Entry(line.number, await self._message(read(line)))
        except errors.Refused as exc:
            self._tally.refuse(line.number, exc)
            return None

    async def _message(self, given: dict[str, Any]) -> Message:
        message = Message.parse(self._with_defaults(given))
        if message.key is not None:
            return message
        if self._terms.batch is None:
            raise errors.Refused("key", "is missing, and there is no --batch that gives one")
        number = await self._dispatcher.number_id(message.number)
        return message.model_copy(update={"number": number, "key": batch_key(self._terms.batch, number, message)})

    def _with_defaults(self, given: dict[str, Any]) -> dict[str, Any]:
        for name, value in self._terms.defaults.items():
            if given.get(name) is None and given.get(_INSTEAD.get(name, name)) is None:
                given[name] = value
        return given

    async def _offer(self, entries: Sequence[_Entry]) -> list[_Entry]:
        """Send messages, count them, and return those for which there was no room."""
        full: list[_Entry] = []
        offered = iter(entries)
        async for ticket in self._dispatcher.send_many([entry.message for entry in entries]):
            entry = next(offered)
            if isinstance(ticket.error, errors.QueueFull):
                full.append(entry)
            elif isinstance(ticket.error, errors.Refused):
                self._tally.refuse(entry.line, ticket.error)
            else:
                self._tally.take(duplicate=ticket.duplicate)
        if len(full) < len(entries):
            self._full_since = None
            self._bar.wait_for("")
        return full

    async def _wait_for_room(self) -> None:
        now = time.monotonic()
        self._full_since = self._full_since or now
        left_s = self._full_since + self._terms.wait_s - now
        if left_s <= 0:
            raise errors.QueueFull(f"Redis is full, and had no room for {self._terms.wait_s:g} s")
        self._bar.wait_for("Redis is full: waiting for room")
        await asyncio.sleep(min(left_s, _FULL_POLL_S))


def batch_key(batch: str, number: str, message: Message) -> str:
    """Return the key of a message without one: the same for the same number, recipient and content in a batch.

    The form may not change between versions: a file that is sent again would be queued again.
    """
    digest = hashlib.blake2b(f"{number}\n{fingerprint(message)}".encode(), digest_size=12).digest()
    return f"{batch}:{base64.urlsafe_b64encode(digest).decode()}"


async def _answered(work: Coroutine[Any, Any, _Answer]) -> _Answer:
    """Await what must not be left half way: if we are cancelled, it ends first, which Redis's timeout bounds."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # whoever was cancelled has no use for it
        raise

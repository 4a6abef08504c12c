"""A consumer of one stream, as a member of a group: each entry at least once, whoever dies.

An entry is acknowledged after its consumer asked for the next one. Until then it is pending; what is pending for longer
than `idle_s` goes to another member. What a new group gets first is the oldest entry that is kept: nothing is lost to a
consumer that starts after the first message, or after Redis lost the group.
"""

import asyncio
import os
import socket
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import suppress

from dispatcher import errors
from dispatcher.store.scripts import Argument
from dispatcher.store.streams import ENTRIES_A_CALL, Calm, Entry, StreamGone, Talk, entries, of_one

IDLE_S = 30.0
"""How long an entry may be pending before another member takes it over; longer than the work on one takes."""

_TOGETHER_S = 0.01  # acknowledgements of a fast consumer go together
_RETRY_S = (0.1, 0.2, 0.5, 1.0)
_OLDEST = "0"


class Consumer:
    """One member of a group; for one reader, and of no use once it is closed.

    With a `name` it goes on with what it left pending under that name, so no two may have it at the same time. Without,
    it has one that nobody had before.
    """

    def __init__(self, talk: Talk, key: str, group: str, name: str | None = None, *, idle_s: float = IDLE_S) -> None:
        if not group:
            raise ValueError("a group needs a name")
        self._talk = talk
        self._key = key
        self._group = group
        self._is_named = name is not None
        self._name = name or f"{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}"
        self._idle_s = idle_s
        self._acks: list[str] = []
        self._acking: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._has_left_some = True
        self._is_reading = False
        self._calm = Calm()
        self._looked_at = float("-inf")
        self._cursor = "0-0"

    async def handed_out(self, *, waits: bool = True) -> AsyncGenerator[Entry, None]:
        """Yield entries for as long as there may be any; with `waits` false until there is none right now.

        Each is acknowledged when the next is asked for. A Redis that goes away is waited for, one that is not there in
        the beginning is not; without `waits` neither is.

        Raises:
            QueueUnavailable: Redis is away.
            QueueBroken: what is under the key is no stream.
        """
        batch: deque[Entry] = deque()
        out: str | None = None
        self._calm = Calm()
        try:
            await self._join()
            while True:
                batch.extend(await self._more(waits=waits))
                self._calm.keep()
                held_till = time.monotonic() + self._idle_s / 3
                if not batch and not waits:
                    return
                while batch and time.monotonic() < held_till:
                    entry = batch.popleft()
                    if entry.fields is not None:
                        out = entry.id
                        yield entry
                    out = None
                    self._done(entry.id)
                # What took too long to get through may be another member's by now: ask again for what is still ours.
                self._has_left_some = self._has_left_some or bool(batch)
                batch.clear()
        finally:
            await self._close(out)

    async def _join(self) -> None:
        """Make the group where there is none."""
        try:
            await self._talk.ask("XGROUP", "CREATE", self._key, self._group, _OLDEST, "MKSTREAM")
        except errors.QueueUnavailable as exc:
            if "BUSYGROUP" not in str(exc.__cause__):
                raise
        self._has_left_some = self._has_left_some and self._is_named

    async def _more(self, *, waits: bool) -> list[Entry]:
        """Return entries, or none for now; Redis is waited for if that is wanted."""
        tries = 0
        while True:
            self._calm.keep()
            try:
                await self._acknowledge()
                return await self._read(waits=waits)
            except StreamGone:
                await self._again()
            except errors.QueueBroken:
                raise
            except errors.QueueUnavailable:
                if not waits:
                    raise
                await asyncio.sleep(_RETRY_S[min(tries, len(_RETRY_S) - 1)])
                tries += 1
            # the answer that was lost may have been one with entries
            self._has_left_some = True

    async def _again(self) -> None:
        with suppress(errors.QueueUnavailable):
            await self._join()

    async def _read(self, *, waits: bool) -> list[Entry]:
        """Return what is still ours, else what others left for too long, else what is new."""
        if self._has_left_some:
            if found := await self._ours():
                return found
            self._has_left_some = False
        if time.monotonic() - self._looked_at >= self._idle_s / 4:
            if found := await self._left_by_others():
                return found
            self._looked_at = time.monotonic()
        block: tuple[Argument, ...] = ("BLOCK", self._talk.block_ms) if waits else ()
        self._is_reading = True
        reply = await self._talk.ask("XREADGROUP", *self._as_member(), *block, "STREAMS", self._key, ">")
        self._is_reading = False
        return of_one(reply)

    async def _ours(self) -> list[Entry]:
        """Return what is pending under our name; to read it makes it ours anew."""
        return of_one(await self._talk.ask("XREADGROUP", *self._as_member(), "STREAMS", self._key, _OLDEST))

    def _as_member(self) -> tuple[Argument, ...]:
        return ("GROUP", self._group, self._name, "COUNT", ENTRIES_A_CALL)

    async def _left_by_others(self) -> list[Entry]:
        """Take over what was pending for too long, a part at a time."""
        while True:
            where = (self._key, self._group, self._name, round(self._idle_s * 1000), self._cursor)
            cursor, rows, *_ = await self._talk.ask("XAUTOCLAIM", *where, "COUNT", ENTRIES_A_CALL)
            self._cursor = cursor.decode()
            found = entries(rows)
            # before Redis 7, entries that were trimmed come without their id: read as ours they have one
            self._has_left_some = self._has_left_some or len(found) < len(rows)
            if found or self._cursor == "0-0":
                return found

    def _done(self, entry_id: str) -> None:
        """Acknowledge an entry, while the next one is worked on."""
        self._acks.append(entry_id)
        if self._acking is None or self._acking.done():
            self._acking = asyncio.create_task(self._acknowledge_soon())

    async def _acknowledge_soon(self) -> None:
        await asyncio.sleep(_TOGETHER_S)
        with suppress(errors.QueueUnavailable, StreamGone):  # they are kept, and go before the next read
            await self._acknowledge()

    async def _acknowledge(self) -> None:
        async with self._lock:
            acks = list(self._acks)
            if acks:
                await self._talk.ask("XACK", self._key, self._group, *acks)
                del self._acks[: len(acks)]

    async def _close(self, out: str | None) -> None:
        """Leave: what was not handed out is given back; what was, and not acknowledged, stays pending."""
        try:
            with suppress(errors.QueueUnavailable, StreamGone, TimeoutError):
                async with asyncio.timeout(self._talk.timeout_s):
                    await self._acknowledge()
                    # A read that was given up may yet be answered, and what is pending goes with its consumer.
                    may_leave = not self._is_named and not self._is_reading
                    if not await self._given_back(out) and may_leave:
                        await self._talk.ask("XGROUP", "DELCONSUMER", self._key, self._group, self._name)
        finally:
            if self._acking is not None:
                self._acking.cancel()
                await asyncio.wait([self._acking])
            await self._talk.close()

    async def _given_back(self, out: str | None) -> int:
        """Let others take at once what nobody has seen; how many entries are pending under our name after all."""
        where = (self._key, self._group)
        total, after = 0, "-"
        while True:
            rows = await self._talk.ask("XPENDING", *where, after, "+", ENTRIES_A_CALL, self._name)
            if not rows:
                return total
            ids = [row[0].decode() for row in rows]
            unseen = [entry_id for entry_id in ids if entry_id != out]
            if unseen:
                idle = ("IDLE", round(self._idle_s * 1000), "RETRYCOUNT", 0, "JUSTID")
                await self._talk.ask("XCLAIM", *where, self._name, 0, *unseen, *idle)
            total, after = total + len(ids), f"({ids[-1]}"

"""What producers use: put messages on Redis, ask how they stand, cancel them. Needs no part of a worker."""

import asyncio
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager
from typing import Any, Generic, Literal, Self, TypeVar, overload

import redis.asyncio as aioredis

from dispatcher import errors
from dispatcher.message import event
from dispatcher.message.message import Message, State, Ticket, new_key
from dispatcher.message.priority import Priority
from dispatcher.store import numbers, queue, streams, webhooks
from dispatcher.store.connection import connect
from dispatcher.store.consumer import IDLE_S, Consumer
from dispatcher.store.health import fullness
from dispatcher.store.pipeline import Pipeline
from dispatcher.store.queue import FULL_FOR, Enqueued, Record
from dispatcher.store.schema import Cell
from dispatcher.store.streams import STREAMS, Lag, Name, Talk

REDIS_TIMEOUT_S = 2.0
_MESSAGES_A_CALL = 50
# What a worker publishes is known to every producer after this time at the latest.
_KNOWN_FRESH_S = 5.0
_UNKNOWN_FRESH_S = 1.0
_NUMBERS_KEPT_MOST = 50_000
_MEMORY_FRESH_S = 1.0

_Answer = TypeVar("_Answer")
Given = Message | Mapping[str, Any]


class Cache(Generic[_Answer]):
    """What Redis said of a name, for a time; `fresh_s` says for how many seconds one holds.

    Whoever asks while the answer is under way waits for that one; an error goes to all who wait and is not kept. It
    remembers `most` names at the most.
    """

    def __init__(
        self,
        ask: Callable[[str], Coroutine[Any, Any, _Answer]],
        fresh_s: Callable[[_Answer], float],
        *,
        most: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._fresh_s = fresh_s
        self._most = most
        self._clock = clock
        self._kept: dict[str, tuple[_Answer, float]] = {}
        self._asking: dict[str, asyncio.Task[_Answer]] = {}

    async def get(self, name: str) -> _Answer:
        """Return the answer; raises what asking raises."""
        return (await self.get_all([name]))[name]

    async def get_all(self, names: Iterable[str]) -> dict[str, _Answer]:
        """Return the answers to all names; what is not known is asked for together."""
        found: dict[str, _Answer] = {}
        asking: dict[str, asyncio.Task[_Answer]] = {}
        for name in names:
            kept = self._kept.get(name)
            if kept is not None and self._clock() < kept[1]:
                found[name] = kept[0]
            else:
                asking[name] = self._asking.get(name) or self._begin(name)
        for name, task in asking.items():
            found[name] = await asyncio.shield(task)  # others wait for it as well
        return found

    def forget(self) -> None:
        """Forget everything; what is under way answers those who wait already, and nobody else."""
        self._kept, self._asking = {}, {}

    def _begin(self, name: str) -> asyncio.Task[_Answer]:
        kept, asking, asked_at = self._kept, self._asking, self._clock()
        task = asking[name] = asyncio.create_task(self._ask(name))

        def end(task: asyncio.Task[_Answer]) -> None:
            asking.pop(name, None)
            # whoever waited may be gone: an error is heard here
            if not task.cancelled() and task.exception() is None:
                kept.pop(name, None)
                kept[name] = (task.result(), asked_at + self._fresh_s(task.result()))
                if len(kept) > self._most:
                    del kept[next(iter(kept))]

        task.add_done_callback(end)
        return task


class Dispatcher:
    """A producer's way into one cell.

    A key is queued once, however often it is sent: after an error that carries a `key`, send again with that key.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        cell: Cell | None = None,
        talk: Callable[[], Talk] | None = None,
        *,
        nearest_among: int = numbers.NEAREST_AMONG,
    ) -> None:
        """Use a pipeline; `talk` opens a connection for whoever reads events.

        What is refused for an unknown number names the nearest one where the cell has at most `nearest_among`.
        """
        self._cell = cell or Cell()
        self._pipeline = pipeline
        self._talk = talk
        self._nearest_among = nearest_among
        self._redis: aioredis.Redis | None = None
        self._numbers = Cache(self._find, _fresh_s, most=_NUMBERS_KEPT_MOST)
        self._fullness = Cache(self._ask_fullness, lambda _: _MEMORY_FRESH_S, most=1)

    @classmethod
    async def open(cls, redis_url: str, *, cell: str = "main", timeout_s: float = REDIS_TIMEOUT_S) -> Self:
        """Open a way to the cell's Redis, to be closed with `aclose`; nothing is sent before the first command.

        A command that takes longer than `timeout_s` seconds is given up.
        """
        of = Cell(cell)

        def talk() -> Talk:
            return Talk(connect(redis_url, of, timeout_s=timeout_s, connections=1), timeout_s)

        redis = connect(redis_url, of, timeout_s=timeout_s)
        opened = cls(Pipeline(redis), of, talk)
        opened._redis = redis
        return opened

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, redis_url: str, *, cell: str = "main", timeout_s: float = REDIS_TIMEOUT_S
    ) -> AsyncIterator[Self]:
        """Open a way to the cell's Redis for a block, as `open` does."""
        opened = await cls.open(redis_url, cell=cell, timeout_s=timeout_s)
        try:
            yield opened
        finally:
            await opened.aclose()

    async def aclose(self) -> None:
        """Wait for what was asked, and close the connections; whatever is asked afterwards opens new ones."""
        await self._pipeline.idle()
        if self._redis is not None:
            await self._redis.aclose()

    async def send(self, message: Given) -> Ticket:
        """Queue a message, or recognise that its key is queued already.

        Raises:
            Refused: the message is wrong (`field` says where), its number unknown, or its key known with other content.
            QueueFull: Redis has no room for this lane; nothing was queued.
            QueueUnavailable: Redis did not answer; the error carries the key to send again with.
        """
        [ready] = await self._ready([_read(message)])
        if isinstance(ready, Ticket):
            raise ready.error or RuntimeError("a message that is not ready has an error")
        return _ticket(ready, (await self._enqueue([ready]))[0])

    async def send_many(self, messages: Iterable[Given] | AsyncIterable[Given]) -> AsyncIterator[Ticket]:
        """Queue messages in their order; one that is refused is a ticket with an `error` and spoils nothing.

        Raises:
            QueueUnavailable: Redis did not answer; what has no ticket yet may be sent again if it has a key.
        """
        waiting: list[Message | Ticket] = []
        async for message in _aiter(messages):
            waiting.append(_read(message))
            if len(waiting) == _MESSAGES_A_CALL:
                for ticket in await self._send_together(waiting):
                    yield ticket
                waiting = []
        for ticket in await self._send_together(waiting):
            yield ticket

    async def status(self, key: str) -> Record | None:
        """Say how a message stands; None where the key is not known (any more)."""
        return await self._pipeline.run(queue.look(self._cell, key))

    async def cancel(self, key: str) -> tuple[str, str]:
        """Cancel a waiting message.

        Returns `cancelled`, `marked` (under way or uncertain: too late, but it will not be sent again), `settled` or
        `unknown`, and the state it was in.
        """
        return await self._pipeline.run(queue.cancel(self._cell, key))

    async def receive(self, payload: Mapping[str, Any] | bytes) -> None:
        """Hand in a webhook of Meta, whose signature you have checked, to be worked off as if our door had got it.

        Give the raw body if you have it. The same one twice does no harm.

        Raises:
            Refused: it is no JSON object, or has more than 3 MB.
            QueueFull: Redis has no room; answer Meta with 503, and it comes again.
            QueueUnavailable: Redis did not answer; the same holds.
        """
        await self._pipeline.run(webhooks.hand_in(self._cell, payload))

    async def lags(self) -> list[Lag]:
        """Say how far each consumer group of each stream is behind."""
        return await self._pipeline.follow(streams.lags(self._cell))

    @overload
    def events(
        self, group: str, *, consumer: str | None = None, stream: Literal["events"] = "events", idle_s: float = IDLE_S
    ) -> AsyncGenerator[event.Event, None]: ...

    @overload
    def events(
        self, group: str, *, consumer: str | None = None, stream: Literal["inbound", "updates"], idle_s: float = IDLE_S
    ) -> AsyncGenerator[event.Incoming, None]: ...

    def events(
        self, group: str, *, consumer: str | None = None, stream: Name = "events", idle_s: float = IDLE_S
    ) -> AsyncGenerator[Any, None]:
        """Iterate over a stream as a member of a consumer group, each event at least once for each group.

        A new group begins at the oldest event that is kept. An event is acknowledged when the next is asked for; one
        that is not for `idle_s` seconds goes to another member. A Redis that goes away is waited for. `consumer` is a
        name that nobody else in the group has at the same time: what was left under it comes again at once.

        Raises:
            QueueUnavailable: Redis was not there in the beginning.
        """
        if stream not in STREAMS:
            raise ValueError(f"stream must be one of {', '.join(STREAMS)}, given {stream!r}")
        if self._talk is None:
            raise RuntimeError("events need a connection of their own: use Dispatcher.connect")
        return self._events(Consumer(self._talk(), self._cell.key(stream), group, consumer, idle_s=idle_s), stream)

    async def _events(self, consumer: Consumer, stream: Name) -> AsyncGenerator[Any, None]:
        async with aclosing(consumer.handed_out()) as entries:
            async for entry in entries:
                yield event.read(stream, entry.id, entry.fields or {})

    async def _ready(self, read: Sequence[Message | Ticket]) -> list[Message | Ticket]:
        """Give messages their numbers' ids and see that there is room for them; a ticket says why not."""
        messages = [one for one in read if isinstance(one, Message)]
        try:
            found = await self._numbers.get_all({message.number for message in messages})
            full = await self._full_for({message.priority for message in messages})
        except errors.QueueUnavailable as exc:
            raise type(exc)(exc.reason, messages[0].key) from exc
        return [one if isinstance(one, Ticket) else _placed(one, found[one.number], full) for one in read]

    async def number_id(self, named: str) -> str:
        """Return the id of a number, given its id or its name: one command at most, and one for all who ask.

        Raises:
            UnknownNumber: with the nearest one, or with what to do where the cell has none.
        """
        found = await self._numbers.get(named)
        if not found.id:
            raise errors.UnknownNumber("number", found.reason)
        return found.id

    async def _find(self, named: str) -> numbers.Found:
        return await self._pipeline.follow(numbers.find(self._cell, named, nearest_among=self._nearest_among))

    async def _full_for(self, priorities: Collection[Priority]) -> Collection[Priority]:
        """Return for which of the lanes the server is too full, as of a second ago at most."""
        limited = [priority for priority in priorities if priority in FULL_FOR]
        used = await self._fullness.get("memory") if limited else 0.0
        return {priority for priority in limited if used > FULL_FOR[priority]}

    async def _ask_fullness(self, _: str) -> float:
        return await self._pipeline.run(fullness())

    async def _send_together(self, read: Sequence[Message | Ticket]) -> list[Ticket]:
        waiting = await self._ready(read)
        ready = [message for message in waiting if isinstance(message, Message)]
        try:
            found = iter(await self._enqueue(ready) if ready else [])
        except errors.QueueFull as exc:
            full = [Ticket(m.key or "", None, duplicate=False, error=exc) for m in ready]
            return _merged(waiting, iter(full))
        return _merged(waiting, (_ticket_of(message, next(found)) for message in ready))

    async def _enqueue(self, messages: list[Message]) -> list[Enqueued]:
        """Queue messages; a lost answer is asked for once more, as the keys make that safe."""
        command = queue.enqueue(self._cell, messages)
        try:
            return await self._pipeline.run(command)
        except (errors.QueueFull, errors.QueueBroken) as exc:
            raise type(exc)(exc.reason, messages[0].key) from exc
        except errors.QueueUnavailable:
            pass
        try:
            return await self._pipeline.run(command)
        except errors.QueueUnavailable as exc:
            raise type(exc)(exc.reason, messages[0].key) from exc


def _read(given: Given) -> Message | Ticket:
    """Check a message and give it a key; a ticket says what is wrong with it."""
    try:
        message = Message.parse(given, default_key=None)
    except errors.Refused as exc:
        return Ticket(exc.key or "", None, duplicate=False, error=exc)
    return message if message.key else message.model_copy(update={"key": new_key()})


def _fresh_s(found: numbers.Found) -> float:
    return _KNOWN_FRESH_S if found.id else _UNKNOWN_FRESH_S


def _placed(message: Message, number: numbers.Found, full: Collection[Priority]) -> Message | Ticket:
    """Put the number's id in; a ticket where there is no such number, or no room."""
    key = message.key or ""
    if not number.id:
        error: errors.DispatcherError = errors.UnknownNumber("number", number.reason, key)
    elif message.priority in full:
        error = errors.QueueFull(f"Redis is too full for {message.priority} messages", key)
    else:
        return message.model_copy(update={"number": number.id})
    return Ticket(key, None, duplicate=False, error=error)


def _ticket(message: Message, found: Enqueued) -> Ticket:
    ticket = _ticket_of(message, found)
    if ticket.error:
        raise ticket.error
    return ticket


def _ticket_of(message: Message, found: Enqueued) -> Ticket:
    key = message.key or ""
    if error := queue.refusal(found, key):
        return Ticket(key, State(found.state), duplicate=True, error=error)
    return Ticket(key, State(found.state), duplicate=found.word == "duplicate")


def _merged(waiting: list[Message | Ticket], tickets: Iterable[Ticket]) -> list[Ticket]:
    found = iter(tickets)
    return [entry if isinstance(entry, Ticket) else next(found) for entry in waiting]


async def _aiter(messages: Iterable[Given] | AsyncIterable[Given]) -> AsyncIterator[Given]:
    if isinstance(messages, AsyncIterable):
        async for message in messages:
            yield message
    else:
        for message in messages:
            yield message

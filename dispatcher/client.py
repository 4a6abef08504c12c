"""What producers use: put messages on Redis, ask how they stand, cancel them. Needs no part of a worker."""

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager
from typing import Any, Literal, Self, overload

from dispatcher import errors
from dispatcher.message import event
from dispatcher.store.connection import connect
from dispatcher.store.consumer import IDLE_S, Consumer
from dispatcher.store.schema import Keys
from dispatcher.store.lags import Lag, Lags
from dispatcher.store.pipeline import Line
from dispatcher.store.queue import Enqueued, Producing, refusal
from dispatcher.store.received import Received
from dispatcher.store.record import Record
from dispatcher.store.numbers import Registry
from dispatcher.store.streams import STREAMS, Name, Talk
from dispatcher.message.message import Message, Priority, State, Ticket, new_key

REDIS_TIMEOUT_S = 2.0
_MESSAGES_A_CALL = 50

Given = Message | Mapping[str, Any]


class Dispatcher:
    """A producer's way into one cell.

    A key is queued once, however often it is sent: after an error that carries a `key`, send again with that key.
    """

    def __init__(
        self,
        line: Line,
        cell: str = "main",
        talk: Callable[[], Talk] | None = None,
        registry: Registry | None = None,
    ) -> None:
        """Use a line; `talk` opens a connection for whoever reads events, `registry` is one that others use as well."""
        self._keys = Keys(cell)
        self._producing = Producing(line, self._keys)
        self._registry = registry or Registry(line, self._keys)
        self._received = Received(line, self._keys)
        self._lags = Lags(line, self._keys)
        self._talk = talk

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, redis_url: str, *, cell: str = "main", timeout_s: float = REDIS_TIMEOUT_S
    ) -> AsyncIterator[Self]:
        """Connect to the cell's Redis; a command that takes longer than `timeout_s` seconds is given up."""

        def talk() -> Talk:
            return Talk(connect(redis_url, timeout_s=timeout_s, connections=1), timeout_s)

        redis = connect(redis_url, timeout_s=timeout_s)
        line = Line(redis)
        try:
            yield cls(line, cell, talk)
        finally:
            await line.idle()
            await redis.aclose()

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
        return await self._producing.look(key)

    async def cancel(self, key: str) -> tuple[str, str]:
        """Cancel a waiting message.

        Returns `cancelled`, `marked` (under way or uncertain: too late, but it will not be sent again), `settled` or
        `unknown`, and the state it was in.
        """
        return await self._producing.cancel(key)

    async def receive(self, payload: Mapping[str, Any] | bytes) -> None:
        """Hand in a webhook of Meta, whose signature you have checked, to be worked off as if our door had got it.

        Give the raw body if you have it. The same one twice does no harm.

        Raises:
            Refused: it is no JSON object, or has more than 3 MB.
            QueueFull: Redis has no room; answer Meta with 503, and it comes again.
            QueueUnavailable: Redis did not answer; the same holds.
        """
        await self._received.add(payload)

    async def lags(self) -> list[Lag]:
        """Say how far each consumer group of each stream is behind."""
        return await self._lags.all()

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
        return self._events(Consumer(self._talk(), self._keys(stream), group, consumer, idle_s=idle_s), stream)

    async def _events(self, consumer: Consumer, stream: Name) -> AsyncGenerator[Any, None]:
        async with aclosing(consumer.handed_out()) as entries:
            async for entry in entries:
                yield event.read(stream, entry.id, entry.fields or {})

    async def _ready(self, read: Sequence[Message | Ticket]) -> list[Message | Ticket]:
        """Give messages their numbers' ids and see that there is room for them; a ticket says why not."""
        messages = [one for one in read if isinstance(one, Message)]
        try:
            ids = await self._registry.ids_of({message.number for message in messages})
            priorities = {message.priority for message in messages}
            full = {priority for priority in priorities if await self._producing.is_full_for(priority)}
        except errors.QueueUnavailable as exc:
            raise type(exc)(exc.reason, messages[0].key) from exc
        return [one if isinstance(one, Ticket) else _placed(one, ids[one.number], full) for one in read]

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
        try:
            return await self._producing.enqueue(messages)
        except (errors.QueueFull, errors.QueueBroken) as exc:
            raise type(exc)(exc.reason, messages[0].key) from exc
        except errors.QueueUnavailable:
            pass
        try:
            return await self._producing.enqueue(messages)
        except errors.QueueUnavailable as exc:
            raise type(exc)(exc.reason, messages[0].key) from exc


def _read(given: Given) -> Message | Ticket:
    """Check a message and give it a key; a ticket says what is wrong with it."""
    try:
        message = Message.parse(given, default_key=None)
    except errors.Refused as exc:
        return Ticket(exc.key or "", None, duplicate=False, error=exc)
    return message if message.key else message.model_copy(update={"key": new_key()})


def _placed(message: Message, number: str | errors.UnknownNumber, full: Collection[Priority]) -> Message | Ticket:
    """Put the number's id in; a ticket where there is no such number, or no room."""
    key = message.key or ""
    if isinstance(number, errors.UnknownNumber):
        error: errors.DispatcherError = errors.UnknownNumber(number.field, number.reason, key)
    elif message.priority in full:
        error = errors.QueueFull(f"Redis is too full for {message.priority} messages", key)
    else:
        return message.model_copy(update={"number": number})
    return Ticket(key, None, duplicate=False, error=error)


def _ticket(message: Message, found: Enqueued) -> Ticket:
    ticket = _ticket_of(message, found)
    if ticket.error:
        raise ticket.error
    return ticket


def _ticket_of(message: Message, found: Enqueued) -> Ticket:
    key = message.key or ""
    if error := refusal(found, key):
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

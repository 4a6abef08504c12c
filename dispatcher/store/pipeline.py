"""Carries commands out: asynchronously in pipelines that many callers share, or synchronously one after the other.

Claims and settlements of all numbers so share their round trips, and a caller that gives up never breaks the
connection under the others. Knows scripts and connections, not what they are for.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import redis
import redis.asyncio as aioredis
from redis import exceptions

from dispatcher import errors
from dispatcher.store.connection import UnknownSchemaError
from dispatcher.store.scripts import Argument, Command, Script, Steps

T = TypeVar("T")

_COMMANDS_A_ROUND_TRIP = 100
# What a script or command says of data it cannot work on, and what passes by itself: Redis 6.2 reports both in a script
# as an error of the script.
_PASSING = (
    "READONLY", "MISCONF", "LOADING", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN", "ASK ", "MOVED ",
    "non local key", "cluster is down",
)  # fmt: skip
_BROKEN = (
    "WRONGTYPE",
    "user_script",
    "Error running script",
    "value is not",
    "wrong number of arguments",
    "no such key",
    "NOGROUP",
)


def translate(exc: Exception) -> errors.QueueUnavailable:
    """Say in our words what Redis or the way to it answered; a full server says so in two ways."""
    text = str(exc)
    if isinstance(exc, UnknownSchemaError):
        return errors.UnknownSchema(text)
    if isinstance(exc, exceptions.OutOfMemoryError) or "OOM command not allowed" in text:
        return errors.QueueFull("Redis is full: it takes nothing new until something is settled or maxmemory is raised")
    if isinstance(exc, exceptions.ResponseError):
        if any(word in text for word in _PASSING):
            return errors.QueueUnavailable(f"Redis is away: {text[:200]}")
        if text.startswith(_BROKEN):
            return errors.QueueBroken(f"Redis refused: {text[:200]}")
    return errors.QueueUnavailable(f"Redis is away: {type(exc).__name__}")


def is_cancelled(exc: BaseException) -> bool:
    """Whether the running task is to end; libraries raise CancelledError also where nobody has cancelled it."""
    task = asyncio.current_task()
    if isinstance(exc, asyncio.CancelledError):
        return task is not None and task.cancelling() > 0
    return isinstance(exc, KeyboardInterrupt | SystemExit)


def _in_full(words: Sequence[Argument], script: Script) -> tuple[Argument, ...]:
    """Call a script by its text, which also loads it; a flush in between does not matter then."""
    return ("EVAL", script.text, *words[2:])


def _answer(command: Command[T], reply: Any) -> T:
    if not isinstance(reply, Exception):
        return command.parse(reply)
    exc = translate(reply)
    if isinstance(exc, errors.QueueBroken) and command.default is not None:
        return command.default
    raise exc from reply


def _is_unknown(reply: object) -> bool:
    return isinstance(reply, exceptions.NoScriptError)


@dataclass(slots=True)
class _Asked:
    words: tuple[Argument, ...]
    script: Script | None
    reply: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def answer(self, reply: Any) -> None:
        if self.reply.done():
            return  # the caller gave up
        if isinstance(reply, exceptions.RedisError | OSError):
            self.reply.set_exception(translate(reply))
        elif isinstance(reply, BaseException):
            # a bug, and no reason to wait for Redis; each caller gets an error of its own, as a traceback grows
            bug = RuntimeError(f"a pipeline broke: {type(reply).__name__}")
            bug.__cause__ = reply
            self.reply.set_exception(bug)
        else:
            self.reply.set_result(reply)


class Pipeline:
    """Carries out commands of one process in shared round trips, one at a time and in order.

    What is asked while a round trip is under way goes out together in the next. Everything raises
    `errors.QueueUnavailable`: the command may have run; `RuntimeError` is a bug. `on_round_trip` is told the seconds of
    each and the names of the scripts that were in it, once the replies are handed out.
    """

    def __init__(
        self, redis: "aioredis.Redis", on_round_trip: Callable[[float, frozenset[str]], None] | None = None
    ) -> None:
        self._redis = redis
        self._encode = redis.get_encoder().encode  # type: ignore[no-untyped-call] # redis-py has no types there
        self._waiting: list[_Asked] = []
        self._talking: asyncio.Task[None] | None = None
        self._on_round_trip = on_round_trip

    async def run(self, command: Command[T]) -> T:
        """Carry out one command."""
        try:
            return command.parse(await self._ask(command))
        except errors.QueueBroken:
            if command.default is None:
                raise
            return command.default

    async def run_all(self, commands: Sequence[Command[T]]) -> list[T]:
        """Carry out commands at once, which share round trips."""
        return list(await asyncio.gather(*(self.run(command) for command in commands)))

    async def follow(self, steps: Steps[T]) -> T:
        """Carry out commands one after the other."""
        try:
            asked = next(steps)
            while True:
                try:
                    answer: Any = await (self.run(asked) if isinstance(asked, Command) else self.run_all(asked))
                except errors.QueueUnavailable as exc:
                    asked = steps.throw(exc)
                else:
                    asked = steps.send(answer)
        except StopIteration as stop:
            found: T = stop.value
            return found

    async def idle(self) -> None:
        """Wait until everything that was asked is answered."""
        while self._talking is not None:
            await asyncio.wait([self._talking])

    async def _ask(self, command: Command[Any]) -> Any:
        # here, so that what cannot be encoded is its caller's error alone
        asked = _Asked(tuple(map(self._encode, command.words)), command.script)
        self._waiting.append(asked)
        if self._talking is None:
            self._talking = asyncio.create_task(self._talk())
        return await asked.reply

    async def _talk(self) -> None:
        asked: list[_Asked] = []
        try:
            while self._waiting:
                asked, self._waiting = self._waiting[:_COMMANDS_A_ROUND_TRIP], self._waiting[_COMMANDS_A_ROUND_TRIP:]
                await self._exchange(asked)
                await asyncio.sleep(0)  # who was answered may ask again, and goes with the next
        except asyncio.CancelledError:
            # the event loop ends, and with it all who wait
            for each in (*asked, *self._waiting):
                each.reply.cancel()
            self._waiting.clear()
            raise
        finally:
            # a bug ends this task and is reported with it; who waits is answered by another
            self._talking = asyncio.create_task(self._talk()) if self._waiting else None

    async def _exchange(self, asked: list[_Asked]) -> None:
        started = time.monotonic()
        try:
            answered = list(zip(asked, await self._replies(asked), strict=True))
        except BaseException as exc:
            if is_cancelled(exc):
                raise
            answered = [(each, exc) for each in asked]
        took_s = time.monotonic() - started
        for each, reply in answered:
            each.answer(reply)
        if self._on_round_trip:
            self._on_round_trip(took_s, frozenset(each.script.name for each in asked if each.script))

    async def _replies(self, asked: list[_Asked]) -> list[Any]:
        replies = await self._round_trip([each.words for each in asked])
        unknown = [(i, script) for i, reply in enumerate(replies) if (script := asked[i].script) and _is_unknown(reply)]
        if unknown:
            # the server was restarted or its scripts flushed: nothing of these calls has run
            again = await self._round_trip([_in_full(asked[i].words, script) for i, script in unknown])
            for (i, _), reply in zip(unknown, again, strict=True):
                replies[i] = reply
        return replies

    async def _round_trip(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for words in commands:
                pipe.execute_command(*words)
            return list(await pipe.execute(raise_on_error=False))


class SyncPipeline:
    """Carries out commands in the caller's thread; for any number of threads, as each takes a connection of its own."""

    def __init__(self, redis: "redis.Redis") -> None:
        self._redis = redis

    def run(self, command: Command[T]) -> T:
        """Carry out one command; raises `errors.QueueUnavailable`: it may have run."""
        return self.run_all([command])[0]

    def run_all(self, commands: Sequence[Command[T]]) -> list[T]:
        """Carry out commands in one round trip; raises the first error that one of them met, once all have run."""
        try:
            replies = self._round_trip([command.words for command in commands])
            for i, reply in enumerate(replies):
                script = commands[i].script
                if script and _is_unknown(reply):
                    [replies[i]] = self._round_trip([_in_full(commands[i].words, script)])
        except (exceptions.RedisError, OSError) as exc:
            raise translate(exc) from exc
        return [_answer(command, reply) for command, reply in zip(commands, replies, strict=True)]

    def follow(self, steps: Steps[T], *, until: float = math.inf) -> T:
        """Carry out commands one after the other, and none after `until` (`time.monotonic`)."""
        try:
            asked = next(steps)
            while True:
                if time.monotonic() > until:
                    raise errors.QueueUnavailable("Redis is away: no answer in time")
                try:
                    answer: Any = self.run(asked) if isinstance(asked, Command) else self.run_all(asked)
                except errors.QueueUnavailable as exc:
                    asked = steps.throw(exc)
                else:
                    asked = steps.send(answer)
        except StopIteration as stop:
            found: T = stop.value
            return found

    def _round_trip(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        with self._redis.pipeline(transaction=False) as pipe:
            for words in commands:
                pipe.execute_command(*words)  # type: ignore[no-untyped-call] # the same
            return list(pipe.execute(raise_on_error=False))

"""One conversation with Redis: what is asked while a pipeline is under way goes out together in the next one.

Claims and settlements of all numbers so share their round trips, and a caller that gives up never breaks the
connection under the others. Knows scripts and connections, not what they are for.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio as aioredis
from redis import exceptions

from dispatcher import errors
from dispatcher.store.scripts import Script

# Both are `str` or `bytes` on the way out; numbers are written by whoever knows their unit.
Argument = str | bytes | int | float

_CALLS_A_PIPELINE = 100
# What a script or command says of data it cannot work on, and what passes by itself: Redis 6.2 reports both in a script
# as an error of the script.
_PASSING = (
    "READONLY", "MISCONF", "LOADING", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN", "ASK ", "MOVED ",
    "non local key", "cluster is down",
)  # fmt: skip
_BROKEN = ("WRONGTYPE", "user_script", "Error running script", "value is not", "wrong number of arguments")


@dataclass(slots=True)
class _Call:
    command: tuple[Argument, ...]
    script: Script | None
    reply: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def in_full(self) -> "_Call":
        """Return the call with the script's text, which also loads it; a flush in between does not matter then."""
        text = self.script.text if self.script else ""
        return _Call(("EVAL", text, *self.command[2:]), self.script, self.reply)

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


def translate(exc: Exception) -> errors.QueueUnavailable:
    """Say in our words what Redis or the way to it answered; a full server says so in two ways."""
    text = str(exc)
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


class Line:
    """Sends scripts and commands in shared pipelines, one at a time and in order.

    Calls raise `errors.QueueUnavailable`: the command may have run; or `RuntimeError`: a bug. Once replies are handed
    out, `on_round_trip` is told the pipeline's seconds, `on_script` the same for each script that was in it.
    """

    def __init__(
        self,
        redis: "aioredis.Redis",
        on_round_trip: Callable[[float], None] | None = None,
        on_script: Callable[[str, float], None] | None = None,
    ) -> None:
        self._redis = redis
        self._encode = redis.get_encoder().encode  # type: ignore[no-untyped-call] # redis-py has no types there
        self._waiting: list[_Call] = []
        self._talking: asyncio.Task[None] | None = None
        self._on_round_trip = on_round_trip
        self._on_script = on_script

    async def call(self, script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Any:
        """Run a script; its reply, with bytes as they come."""
        return await self._ask(_Call(("EVALSHA", script.sha, len(keys), *keys, *args), script))

    async def command(self, *command: Argument) -> Any:
        """Run a plain command; its raw reply."""
        return await self._ask(_Call(command, None))

    async def _ask(self, call: _Call) -> Any:
        # here, so that what cannot be encoded is its caller's error alone
        name, *arguments = call.command
        call.command = (name, *map(self._encode, arguments))
        self._waiting.append(call)
        if self._talking is None or self._talking.done():
            self._talking = asyncio.create_task(self._talk())
        return await call.reply

    async def idle(self) -> None:
        """Wait until everything that was asked is answered."""
        while self._talking is not None and not self._talking.done():
            await asyncio.wait([self._talking])

    async def _talk(self) -> None:
        calls: list[_Call] = []
        try:
            while self._waiting:
                calls, self._waiting = self._waiting[:_CALLS_A_PIPELINE], self._waiting[_CALLS_A_PIPELINE:]
                await self._exchange(calls)
                await asyncio.sleep(0)  # who was answered may ask again, and goes with the next
        except asyncio.CancelledError:
            # the event loop ends, and with it all who wait
            for call in (*calls, *self._waiting):
                call.reply.cancel()
            self._waiting.clear()
            raise
        finally:
            if self._waiting:  # a bug ended this task and is reported with it; who waits is answered by another
                self._talking = asyncio.create_task(self._talk())

    async def _exchange(self, calls: list[_Call]) -> None:
        started = time.monotonic()
        try:
            answered = list(zip(calls, await self._replies(calls), strict=True))
        except BaseException as exc:
            if is_cancelled(exc):
                raise
            answered = [(call, exc) for call in calls]
        took_s = time.monotonic() - started
        for call, reply in answered:
            call.answer(reply)
        self._measure(calls, took_s)

    async def _replies(self, calls: list[_Call]) -> list[Any]:
        replies = await self._pipeline(calls)
        unknown = [i for i, reply in enumerate(replies) if isinstance(reply, exceptions.NoScriptError)]
        if unknown:
            # the server was restarted or its scripts flushed: nothing of these calls has run
            again = await self._pipeline([calls[i].in_full() for i in unknown])
            for i, reply in zip(unknown, again, strict=True):
                replies[i] = reply
        return replies

    def _measure(self, calls: list[_Call], took_s: float) -> None:
        if self._on_round_trip:
            self._on_round_trip(took_s)
        if self._on_script:
            for name in {call.script.name for call in calls if call.script}:
                self._on_script(name, took_s)

    async def _pipeline(self, calls: list[_Call]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for call in calls:
                pipe.execute_command(*call.command)
            return list(await pipe.execute(raise_on_error=False))

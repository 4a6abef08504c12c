"""What a command that asks Redis needs: the cell and a connection; and errors as exit codes with advice."""

import asyncio
import getpass
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from dispatcher import errors
from dispatcher.cli.output import AWAY, REFUSED, fail
from dispatcher.client import Dispatcher
from dispatcher.settings import NumbersFile, Settings
from dispatcher.store import numbers
from dispatcher.store.connection import connect
from dispatcher.store.health import server_time
from dispatcher.store.pipeline import Pipeline
from dispatcher.store.schema import US, Cell
from dispatcher.store.scripts import Command, Steps

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Session:
    """One cell, as a command sees it."""

    cell: Cell
    address: str
    dispatcher: Dispatcher
    pipeline: Pipeline

    async def now(self) -> datetime:
        """Return the time by Redis's clock, which is the one that decides."""
        return datetime.fromtimestamp(await self.pipeline.run(server_time()) / US, UTC)

    async def run(self, command: Command[_Answer]) -> _Answer:
        """Carry out a command."""
        return await self.pipeline.run(command)

    async def follow(self, steps: Steps[_Answer]) -> _Answer:
        """Carry out commands one after the other."""
        return await self.pipeline.follow(steps)


def ask(work: Callable[[Session], Coroutine[Any, Any, _Answer]], *, publish: bool = False) -> _Answer:
    """Do the work on the cell of the settings; with `publish`, the numbers of a numbers file are made known first.

    What goes wrong ends the command, with its exit code and a word on what to do.
    """
    with explained():
        settings = Settings.load()
        file = _numbers_file(settings) if publish else None
        try:
            return asyncio.run(_ask(settings, file, work))
        except errors.QueueUnavailable as exc:
            # the exit code is decided here, where it is known whom we asked
            found = trouble(exc, settings.redis_address)
            fail(f"{found.text}{_next(exc)}", found.code, ended=found.word, key=exc.key)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Redis's trouble for people: what it is and what to do, the exit code, and a word (full, schema, broken, away)."""

    text: str
    code: int
    word: str


def trouble(exc: errors.QueueUnavailable, address: str) -> Trouble:
    """Say what Redis's trouble is and what to do."""
    if isinstance(exc, errors.QueueFull):
        return Trouble(exc.reason, REFUSED, "full")
    if isinstance(exc, errors.UnknownSchema):
        return Trouble(exc.reason, REFUSED, "schema")
    if isinstance(exc, errors.QueueBroken):
        advice = f"another program may write to {address}, or another version of this one"
        return Trouble(f"{exc.reason}; {advice}", REFUSED, "broken")
    if "Authentication" in exc.reason or "NoPermission" in exc.reason:
        advice = "check user and password in DISPATCHER_REDIS_URL"
        return Trouble(f"Redis at {address} rejects our login: {advice}", AWAY, "away")
    if "InvalidResponse" in exc.reason:
        return Trouble(f"what answers at {address} is not Redis: set DISPATCHER_REDIS_URL", AWAY, "away")
    return Trouble(f"{exc.reason}, at {address}: start it or set DISPATCHER_REDIS_URL", AWAY, "away")


@contextmanager
def explained() -> Iterator[None]:
    """End the command where settings are wrong or something was refused, without a traceback."""
    try:
        yield
    except errors.SettingsError as exc:
        fail("\n".join(exc.problems), ended="settings")
    except errors.KeyConflict as exc:
        fail(f"{exc}: send this one under another key", field=exc.field, key=exc.key)
    except errors.Refused as exc:
        fail(str(exc), field=exc.field, key=exc.key)


def somebody() -> str:
    """Say who is at the keyboard, as far as the system knows."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may know no names
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


async def _ask(
    settings: Settings, file: NumbersFile | None, work: Callable[[Session], Coroutine[Any, Any, _Answer]]
) -> _Answer:
    async with _opened(settings) as session:
        if file is not None:
            await session.pipeline.follow(numbers.publish(session.cell, file.numbers.values()))
        return await work(session)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Session]:
    cell = Cell.of(settings)
    redis = connect(settings.redis_url.get_secret_value(), cell, timeout_s=settings.redis_timeout_s)
    pipeline = Pipeline(redis)
    dispatcher = Dispatcher(pipeline, cell, nearest_among=numbers.NEAREST_AMONG_COMMAND)
    try:
        yield Session(cell, settings.redis_address, dispatcher, pipeline)
    finally:
        await pipeline.idle()
        await redis.aclose()


def _numbers_file(settings: Settings) -> NumbersFile | None:
    """Read the numbers file, if there is one, without its tokens: they are for workers."""
    if not settings.numbers_file.exists():
        return None
    return NumbersFile.load(settings.numbers_file, with_tokens=False)


def _next(exc: errors.QueueUnavailable) -> str:
    """Say what became of the one message that was sent, if one was."""
    if isinstance(exc, errors.QueueFull):
        return "; nothing was queued"
    if isinstance(exc, errors.QueueBroken | errors.UnknownSchema) or not exc.key:
        return ""
    return f"; then send again with --key {exc.key}, which is never queued twice"

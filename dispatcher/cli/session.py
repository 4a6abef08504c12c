"""What a command that asks Redis needs: the settings, a line, the books; and errors as exit codes with advice."""

import asyncio
import getpass
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from dispatcher import errors
from dispatcher.cli.output import AWAY, REFUSED, fail
from dispatcher.client import Dispatcher
from dispatcher.store.connection import connect
from dispatcher.store.schema import Keys
from dispatcher.store.pipeline import Line
from dispatcher.store.overview import Overlook
from dispatcher.store.queue import Producing
from dispatcher.store.numbers import NEAREST_AMONG_COMMAND, Published, Registry
from dispatcher.store.stops import Stops
from dispatcher.store.terms import Terms
from dispatcher.settings import NumbersFile, Settings

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Session:
    """One cell, as a command sees it."""

    cell: str
    address: str
    dispatcher: Dispatcher
    producing: Producing
    registry: Registry
    stops: Stops
    overlook: Overlook


def ask(work: Callable[[Session], Coroutine[Any, Any, _Answer]], *, publish: bool = False) -> _Answer:
    """Do the work on the cell of the settings; with `publish`, the numbers of a numbers file are made known first.

    What goes wrong ends the command, with its exit code and a word on what to do.
    """
    with explained():
        settings = Settings.load()
        numbers = _numbers(settings) if publish else []
        try:
            return asyncio.run(_ask(settings, numbers, work))
        except errors.QueueUnavailable as exc:
            # the exit code is decided here, where it is known whom we asked
            found = trouble(exc, settings.redis_address)
            fail(f"{found.text}{_next(exc)}", found.code, ended=found.word, key=exc.key)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Redis's trouble for people: what it is and what to do, the exit code, and one word (full, broken or away)."""

    text: str
    code: int
    word: str


def trouble(exc: errors.QueueUnavailable, address: str) -> Trouble:
    """Say what Redis's trouble is and what to do."""
    if isinstance(exc, errors.QueueFull):
        return Trouble(exc.reason, REFUSED, "full")
    if isinstance(exc, errors.QueueBroken):
        advice = f"another program may write to {address}, or another version of this one"
        return Trouble(f"{exc.reason}; {advice}", REFUSED, "broken")
    if "Authentication" in exc.reason or "NoPermission" in exc.reason:
        advice = "check user and password in DISPATCHER_REDIS_URL"
        return Trouble(f"Redis at {address} refuses us: {advice}", AWAY, "away")
    if "InvalidResponse" in exc.reason:
        return Trouble(f"what answers at {address} is no Redis: set DISPATCHER_REDIS_URL", AWAY, "away")
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
    settings: Settings, numbers: list[Published], work: Callable[[Session], Coroutine[Any, Any, _Answer]]
) -> _Answer:
    async with _opened(settings) as session:
        if numbers:
            await session.registry.publish(numbers)
        return await work(session)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Session]:
    keys = Keys(settings.cell)
    terms = Terms(settings.events_kept_s, settings.uncertain_window_s, settings.uncertain_window_urgent_s)
    redis = connect(settings.redis_url.get_secret_value(), timeout_s=settings.redis_timeout_s)
    line = Line(redis)
    registry = Registry(line, keys, nearest_among=NEAREST_AMONG_COMMAND)
    try:
        yield Session(
            settings.cell,
            settings.redis_address,
            Dispatcher(line, settings.cell, registry=registry),
            Producing(line, keys, terms),
            registry,
            Stops(line, keys, terms),
            Overlook(line, keys),
        )
    finally:
        await line.idle()
        await redis.aclose()


def _numbers(settings: Settings) -> list[Published]:
    """Read the numbers file, if there is one, without its tokens: they are for workers."""
    if not settings.numbers_file.exists():
        return []
    file = NumbersFile.load(settings.numbers_file, with_tokens=False)
    return [Published(n.id, n.name, n.rate_per_s, n.waba_id or "") for n in file.numbers.values()]


def _next(exc: errors.QueueUnavailable) -> str:
    """Say what became of the one message that was sent, if one was."""
    if isinstance(exc, errors.QueueFull):
        return "; nothing was queued"
    if isinstance(exc, errors.QueueBroken) or not exc.key:
        return ""
    return f"; then send again with --key {exc.key}, which is never queued twice"

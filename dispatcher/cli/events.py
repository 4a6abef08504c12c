"""`dispatcher events`: what happened in the cell, and what happens now."""

import os
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.output import Json, duration_s, note, printable, shown

if TYPE_CHECKING:
    from datetime import datetime

    from dispatcher.cli.session import Session
    from dispatcher.message.event import Event, Incoming
    from dispatcher.store.schema import Cell
    from dispatcher.store.streams import Entry, Talk


class Stream(StrEnum):
    """The streams of a cell, as the command knows them."""

    EVENTS = "events"
    INBOUND = "inbound"
    UPDATES = "updates"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked for: all of a stream, or what is of these types and this key; as a member of a group or not."""

    stream: Stream
    follows: bool
    group: str | None
    types: frozenset[str]
    key: str | None
    since_s: float | None

    def has(self, event: "Event | Incoming") -> bool:
        if self.types and event.type not in self.types:
            return False
        return self.key is None or getattr(event, "key", "") == self.key


def events(
    *,
    follow: Annotated[bool, typer.Option("--follow", help="Keep running and show what happens from now on.")] = False,
    group: Annotated[
        str | None, typer.Option(help="Read as a member of this consumer group and acknowledge what is shown.")
    ] = None,
    types: Annotated[
        str | None, typer.Option("--type", metavar="TYPE,...", help="Only these types, such as dead,failed.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Only events of this message.")] = None,
    since_s: Annotated[
        float | None,
        typer.Option(
            "--since", parser=duration_s, metavar="DURATION", help="Only what is no older than this: 90s, 15m, 2h, 1d."
        ),
    ] = None,
    stream: Annotated[Stream, typer.Option(help="Which stream to read.")] = Stream.EVENTS,
    as_json: Json = False,
) -> None:
    """Show what happened to messages, or what came in, one line each."""
    from dispatcher.cli.session import ask

    if group is not None and (not group or since_s is not None):
        raise typer.BadParameter(
            "--group and --since cannot be used together: a group continues where it stopped"
            if group
            else "--group needs a name"
        )
    if key is not None and stream is not Stream.EVENTS:
        raise typer.BadParameter(f"--key works with --stream events only: nothing in {stream} has a key")
    named = frozenset(word.strip() for word in (types or "").split(",") if word.strip())
    wanted = _Wanted(stream, follow, group, named, key, since_s)
    if stream is Stream.EVENTS:
        _note_unknown(named)

    async def work(session: "Session") -> None:
        await _write(session, wanted, as_json=as_json)

    try:
        ask(work)
    except KeyboardInterrupt:
        return  # how following ends
    except BrokenPipeError:
        # whoever read this has seen enough; Python would complain once more when it closes the stream
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _note_unknown(named: frozenset[str]) -> None:
    from dispatcher.message.event import TYPES

    for word in sorted(named - set(TYPES)):
        note(f"there is no type {word}; there are {', '.join(TYPES)}")


async def _write(session: "Session", wanted: _Wanted, *, as_json: bool) -> None:
    from contextlib import aclosing

    from dispatcher.message.event import read
    from dispatcher.settings import Settings
    from dispatcher.store.connection import connect
    from dispatcher.store.streams import Talk

    settings = Settings.load()
    url, timeout_s = settings.redis_url.get_secret_value(), settings.redis_timeout_s
    redis = connect(url, session.cell, timeout_s=timeout_s, connections=1)
    talk = Talk(redis, settings.redis_timeout_s)
    try:
        now = await session.now()
        async with aclosing(_entries(talk, session.cell, wanted, now)) as entries:
            async for entry in entries:
                event = read(wanted.stream, entry.id, entry.fields or {})
                if wanted.has(event):
                    print(event.as_json() if as_json else _line(event), flush=wanted.follows or bool(wanted.group))
    finally:
        await talk.close()


async def _entries(talk: "Talk", cell: "Cell", wanted: _Wanted, now: "datetime") -> "AsyncGenerator[Entry, None]":
    from contextlib import aclosing

    from dispatcher.store.consumer import Consumer
    from dispatcher.store.streams import OLDEST, before, follow, newest

    key = cell.key(wanted.stream)
    if wanted.group:
        found = Consumer(talk, key, wanted.group).handed_out(waits=wanted.follows)
    else:
        after = OLDEST
        if wanted.since_s is not None:
            after = before(round((now.timestamp() - wanted.since_s) * 1000))
        elif wanted.follows:
            after = await newest(talk, key)
        found = follow(talk, key, after=after, waits=wanted.follows)
    async with aclosing(found) as entries:
        async for entry in entries:
            yield entry


def _line(event: "Event | Incoming") -> str:
    """Return an event as people read it, without anybody's number."""
    from dispatcher.message.event import Event
    from dispatcher.message.message import mask

    start = f"{shown(event.at)}  {event.type:<10}  {event.number:<16}"
    if isinstance(event, Event):
        rest = f"{event.key or '-'}  {event.cause}  {event.error}"
    elif event.sender:
        rest = f"{mask(event.sender)}  {event.kind}"
    else:
        rest = event.waba
    return printable(f"{start}  {rest}").rstrip()

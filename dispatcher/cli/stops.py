"""`dispatcher stops`: what must not be sent now."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from dispatcher import errors
from dispatcher.cli.output import (
    Column,
    Json,
    Styled,
    TableRow,
    age,
    duration_s,
    fail,
    moment,
    note,
    odd,
    printable,
    shown,
    table,
    write_json,
)

if TYPE_CHECKING:
    from dispatcher.cli.session import Session
    from dispatcher.store.stops import Stop

app = typer.Typer(help="List, add and lift stops. A stop says what must not be sent now.", no_args_is_help=True)

Until = Annotated[
    datetime | None, typer.Option(parser=moment, metavar="TIME", help="When it ends by itself (ISO 8601 with a zone).")
]
For = Annotated[
    float | None,
    typer.Option("--for", parser=duration_s, metavar="DURATION", help="How long it holds: 90s, 15m, 2h, 1d."),
]
By = Annotated[str | None, typer.Option(help="Who sets it; user@host if left out.")]
Scope = Annotated[
    str,
    typer.Argument(
        help="all, number:NUMBER, lane:NUMBER:PRIORITY, waba:ID, credential:FINGERPRINT, template:WABA:NAME or "
        "campaign:NAME; NUMBER is an id or a name."
    ),
]


_COLUMNS: Final = (Column("scope"), Column("action"), Column("since"), Column("ends"), Column("by", extra=True))


def ended_at(until: datetime | None, for_s: float | None, now: datetime) -> datetime | None:
    """Return when a stop ends by itself; None if it does not.

    Raises:
        BadParameter: both are given, or the time is over.
    """
    if until is not None and for_s is not None:
        raise typer.BadParameter("give --until or --for, not both")
    if until is not None and until <= now:
        raise typer.BadParameter(f"--until {shown(until)} has passed: it is {shown(now)} now")
    return until if for_s is None else now + timedelta(seconds=for_s)


async def put(session: "Session", stop: "Stop") -> "Stop":
    """Put a stop into force; returns it as it stands now."""
    from dispatcher.store import stops

    await session.run(stops.add(session.cell, stop))
    return next(
        (standing for standing in await session.run(stops.all_(session.cell)) if standing.scope == stop.scope), stop
    )


def show_table(stops: "Sequence[Stop]", now: datetime) -> None:
    """Write stops for people, the reason below each."""
    rows = [
        TableRow(
            (
                stop.scope,
                odd("cancel") if stop.action == "cancel" else "hold",
                age(stop.since, now),
                _end(stop, now),
                stop.by,
            ),
            [Styled(printable(stop.reason))] if stop.reason else [],
        )
        for stop in stops
    ]
    table(_COLUMNS, rows, below="reason")


def said_of(stop: "Stop", now: datetime | None, names: Mapping[str, str]) -> str:
    """Say what a stop covers, since when, by whom and why."""
    parts = [named_scope(stop.scope, names), age(stop.since, now) if now else "", f"by {stop.by}" if stop.by else ""]
    ends = f" (ends {age(stop.until, now)})" if stop.until and now else ""
    reason = f": {stop.reason}" if stop.reason else ""
    return printable(", ".join(part for part in parts if part) + ends + reason)


def named_scope(scope: str, names: Mapping[str, str]) -> str:
    """Put a number's name in the place of its id, as commands take it too."""
    kind, _, named = scope.partition(":")
    number, separator, lane = named.partition(":")
    if kind not in {"number", "lane"} or not names.get(number):
        return printable(scope)
    return f"{kind}:{names[number]}{separator}{lane}"


def _end(stop: "Stop", now: datetime) -> str:
    if stop.until is None:
        return "when lifted"
    return "over" if stop.until <= now else age(stop.until, now)


@app.command("list")
def list_stops(as_json: Json = False) -> None:
    """List the stops, also those whose time has run out."""
    from dispatcher.cli.session import ask
    from dispatcher.store import stops

    async def work(session: "Session") -> "tuple[list[Stop], datetime]":
        return await session.run(stops.all_(session.cell)), await session.now()

    found, now = ask(work)
    if as_json:
        write_json(found)
    elif found:
        show_table(found, now)
    else:
        note("no stops")


@app.command("add")
def add(
    scope: Scope,
    *,
    reason: Annotated[str, typer.Option(help="Why; shown to whoever asks.")],
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Cancel the messages it covers instead of holding them.")
    ] = False,
    until: Until = None,
    for_s: For = None,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Add a stop; it replaces one for the same scope."""
    from dispatcher.cli.session import ask, somebody
    from dispatcher.policy import scope as scopes
    from dispatcher.store.stops import Stop

    async def work(session: "Session") -> "Stop":
        now = await session.now()
        meant = str(scopes.parse(await _with_id(session, scope)))
        action = "cancel" if cancel else "hold"
        return await put(session, Stop(meant, action, reason, by or somebody(), until=ended_at(until, for_s, now)))

    stop = ask(work)
    if as_json:
        write_json(stop)
    else:
        verb = "cancels" if cancel else "holds"
        print(f"{stop.scope} {verb}" + (f" until {shown(stop.until)}" if stop.until else " until it is lifted"))


@app.command("lift")
def lift(scope: Scope, as_json: Json = False) -> None:
    """Remove a stop; the messages it held are sent at once."""
    from dispatcher.cli.session import ask
    from dispatcher.policy import scope as scopes
    from dispatcher.store import stops

    async def work(session: "Session") -> tuple[str, bool, list[str]]:
        meant = str(scopes.Scope.of(await _known(session, scope)))
        lifted = await session.follow(stops.lift(session.cell, meant, await _held_by(session, meant)))
        return meant, lifted, [] if lifted else [stop.scope for stop in await session.run(stops.all_(session.cell))]

    meant, lifted, others = ask(work)
    answer = {"scope": meant, "lifted": lifted}
    if not lifted:
        import difflib

        near = difflib.get_close_matches(meant, others, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(others[:5]) or 'no stop at all'}"
        fail(f"no stop for {meant}; {hint}", answer=answer)
    if as_json:
        write_json(answer)
    else:
        print(f"{meant} lifted")


async def _with_id(session: "Session", scope: str) -> str:
    """Put the id in the place of a number's name.

    Raises:
        UnknownNumber: the cell has no such number.
    """
    kind, _, named = scope.partition(":")
    if kind not in {"number", "lane"} or not named:
        return scope
    number, separator, lane = named.partition(":")
    return f"{kind}:{await session.dispatcher.number_id(number)}{separator}{lane}"


async def _known(session: "Session", scope: str) -> str:
    """The same for a stop that may stand for a number nobody registered."""
    try:
        return await _with_id(session, scope)
    except errors.UnknownNumber:
        return scope


async def _held_by(session: "Session", scope: str) -> list[str]:
    """Which numbers to wake once the stop is gone; what template and campaign stops parked is moved back by itself."""
    from dispatcher.policy.scope import Scope
    from dispatcher.store import numbers

    held = Scope.of(scope)
    if held.kind in {"number", "lane"}:
        return [held.name.partition(":")[0]]
    if held.holds_messages:
        return []
    return [number.id for number in await session.run(numbers.all_(session.cell))]

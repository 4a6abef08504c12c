"""`dispatcher stops`: what must not be sent now."""

import difflib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher import errors
from dispatcher.cli.durations import duration_s, moment
from dispatcher.cli.output import Json, fail, note, shown, table, write_json

if TYPE_CHECKING:
    from dispatcher.cli.session import Session
    from dispatcher.store.stops import Stop

app = typer.Typer(help="List, add and lift stops: rows that say what must not be sent now.", no_args_is_help=True)

Until = Annotated[
    datetime | None, typer.Option(parser=moment, metavar="TIME", help="When it ends by itself (ISO 8601 with zone).")
]
For = Annotated[
    float | None,
    typer.Option("--for", parser=duration_s, metavar="DURATION", help="How long it holds: 90s, 15m, 2h, 1d."),
]
By = Annotated[str | None, typer.Option(help="Who says so; user@host if left out.")]
Scope = Annotated[
    str,
    typer.Argument(
        help="all, number:NUMBER, lane:NUMBER:PRIORITY, waba:ID, credential:FINGERPRINT, template:WABA:NAME or "
        "campaign:NAME; NUMBER is an id or a name."
    ),
]


def ended_at(until: datetime | None, for_s: float | None, now: datetime) -> datetime | None:
    """Return when a stop ends by itself; None if it does not.

    Raises:
        BadParameter: both are given, or the time is over.
    """
    if until is not None and for_s is not None:
        raise typer.BadParameter("give --until or --for, not both")
    if until is not None and until <= now:
        raise typer.BadParameter(f"--until {shown(until)} is over: it is {shown(now)}")
    return until if for_s is None else now + timedelta(seconds=for_s)


async def put(session: "Session", stop: "Stop") -> "Stop":
    """Put a stop into force; returns it as it stands now."""
    from dispatcher.store import stops

    await session.run(stops.add(session.cell, stop))
    return next(
        (standing for standing in await session.run(stops.all_(session.cell)) if standing.scope == stop.scope), stop
    )


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
        columns = ("scope", "action", "reason", "by", "since", "until")
        table("", columns, [(s.scope, s.action, s.reason, s.by, s.since, _until(s.until, now)) for s in found])
    else:
        note("no stops")


@app.command("add")
def add(
    scope: Scope,
    *,
    reason: Annotated[str, typer.Option(help="Why, for whoever wonders.")],
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel what it meets instead of holding it.")] = False,
    until: Until = None,
    for_s: For = None,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Put a stop into force, in place of one for the same scope."""
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
    """Take a stop away; what it held goes on at once."""
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
        near = difflib.get_close_matches(meant, others, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(others[:5]) or 'none at all'}"
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


def _until(until: datetime | None, now: datetime) -> str:
    return shown(until) + (" (over)" if until and until <= now else "")

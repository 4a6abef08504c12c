"""`dispatcher numbers`: the numbers of a cell, and their pause."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from dispatcher.cli.output import (
    Column,
    Json,
    Styled,
    TableRow,
    bad,
    fail,
    note,
    odd,
    printable,
    sheet,
    shown,
    span,
    table,
    write_json,
)
from dispatcher.cli.stops import By, For, Until, ended_at, named_scope, put, said_of

if TYPE_CHECKING:
    from dispatcher.cli.session import Session
    from dispatcher.store.cell import Around, Counts, Overview, Standing
    from dispatcher.store.numbers import Registered
    from dispatcher.store.stops import Stop

app = typer.Typer(help="Show the numbers of the cell, pause and resume them.", invoke_without_command=True)

Named = Annotated[str, typer.Argument(metavar="NUMBER", help="Id or name of the number.")]

# Where the terminal is too narrow, the last extra one goes first.
_COLUMNS: Final = (
    Column("number"),
    Column("id", extra=True),
    Column("rate/s", right=True),
    Column("urgent", right=True),
    Column("normal", right=True),
    Column("bulk", right=True),
    Column("state"),
    Column("oldest", right=True, extra=True),
    Column("workers", right=True, extra=True),
    Column("WABA", extra=True),
    Column("served by", extra=True),
)


@app.callback()
def _numbers(context: typer.Context, as_json: Json = False) -> None:
    if context.invoked_subcommand is None:
        _show_all(as_json=as_json)
    elif as_json:
        raise typer.BadParameter(f"put --json after {context.invoked_subcommand}")


@app.command("show")
def show(
    number: Annotated[str | None, typer.Argument(help="Id or name; all numbers if left out.")] = None,
    as_json: Json = False,
) -> None:
    """Show one number, or all: how many messages wait and for how long, and what holds them up."""
    if number is None:
        _show_all(as_json=as_json)
    else:
        _show_one(number, as_json=as_json)


@app.command("pause")
def pause(
    number: Named,
    reason: Annotated[str, typer.Option(help="Why; shown to whoever asks.")] = "paused",
    until: Until = None,
    for_s: For = None,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Send nothing from a number; its messages wait. The same as a stop on number:ID."""
    from dispatcher.cli.session import ask, somebody
    from dispatcher.store import numbers
    from dispatcher.store.stops import Stop

    async def work(session: "Session") -> "tuple[Registered, Stop]":
        found = await session.run(numbers.get(session.cell, await session.dispatcher.number_id(number)))
        now = await session.now()
        stop = Stop(f"number:{found.id}", "hold", reason, by or somebody(), until=ended_at(until, for_s, now))
        return found, await put(session, stop)

    found, stop = ask(work)
    if as_json:
        write_json(stop)
    else:
        print(f"{found.name or found.id} paused" + (f" until {shown(stop.until)}" if stop.until else ""))


@app.command("resume")
def resume(number: Named, as_json: Json = False) -> None:
    """End the pause of a number."""
    from dispatcher.cli.session import ask
    from dispatcher.store import stops

    async def work(session: "Session") -> "tuple[bool, Standing]":
        number_id = await session.dispatcher.number_id(number)
        lifted = await session.follow(stops.lift(session.cell, f"number:{number_id}", [number_id]))
        return lifted, (await _one(session, number_id))[1]

    lifted, found = ask(work)
    name = found.number.name or found.number.id
    held_by = [str(scope) for scope in found.stops]
    answer = {"number": found.number.id, "resumed": lifted, "stops": held_by}
    if held_by:
        note(f"{name} is still held by {', '.join(held_by)}: see `dispatcher stops list`")
    if not lifted:
        fail(f"{name} was not paused: `dispatcher numbers show {name}` says how it stands", answer=answer)
    if as_json:
        write_json(answer)
    else:
        print(f"{name} resumed")


def for_machines(number: "Standing") -> dict[str, Any]:
    """Return how a number stands as one flat object; a wait without an end is null."""
    lanes = ("urgent", "normal", "bulk")
    wait_s = [None if math.isinf(wait) else round(wait, 3) for wait in number.wait_s]
    return {
        "id": number.number.id,
        "name": number.number.name,
        "rate_per_s": number.rate_per_s,
        "waba_id": number.number.waba_id,
        "waiting": dict(zip(lanes, number.waiting, strict=True)),
        "wait_s": dict(zip(lanes, wait_s, strict=True)),
        "gate": number.gate,
        "stops": [str(scope) for scope in number.stops],
        "workers": number.able,
        "served_by": number.owner,
    }


def show_table(numbers: "Sequence[Standing]", around: "Around", cell: str) -> None:
    """Write the numbers for people; an empty registry says what to do."""
    if not numbers:
        note(
            f"no numbers registered in cell {cell}: start a worker or give DISPATCHER_NUMBERS_FILE to `dispatcher send`"
        )
        return
    names = {number.number.id: number.number.name for number in numbers}
    rows = [TableRow(_cells(number), list(_worries(number, around, names))) for number in numbers]
    table(_COLUMNS, rows)


def _cells(number: "Standing") -> tuple[object, ...]:
    known = number.number
    oldest_s = max(number.oldest_s)
    return (
        known.name or known.id,
        known.id if known.name else "",
        number.rate_per_s,
        *(_waiting(count, wait_s) for count, wait_s in zip(number.waiting, number.wait_s, strict=True)),
        _state(number),
        span(oldest_s) if oldest_s else "",
        len(number.able) or bad(0),
        known.waba_id,
        number.owner,
    )


def _waiting(count: int, wait_s: float) -> object:
    """Say how many wait in a lane, and in what time they will have gone."""
    if not count:
        return "0"
    return odd(f"{count:,} held") if math.isinf(wait_s) else f"{count:,} in {span(wait_s)}"


def _state(number: "Standing") -> Styled:
    if number.stop:
        return odd("stopped")
    if not number.able:
        return bad("no worker")
    return Styled("open") if number.gate.state == "open" else odd(number.gate.state.replace("_", " "))


def _worries(number: "Standing", around: "Around", names: Mapping[str, str]) -> Iterator[Styled]:
    """Say what keeps messages of a number from leaving, one cause after the other."""
    stops = {stop.scope: stop for stop in around.stops}
    now = around.at
    for scope in number.stops:
        said = said_of(stops[str(scope)], now, names) if str(scope) in stops else named_scope(str(scope), names)
        yield odd(f"stopped by {said}")
    if not number.able and around.processes:
        yield bad("no worker has its token: start one, or add the number to the workers' numbers file")
    why = f": {printable(number.gate_why)}" if number.gate_why else ""
    if number.gate.state == "blocked":
        times = f", {number.streak} times in a row" if number.streak > 1 else ""
        yield odd(f"blocked for another {span((number.till_us - number.now_us) / 1_000_000)}{why}{times}")
    elif number.gate.state == "half_open":
        yield odd(f"was blocked{why}; the next message is a trial")


def parked_rows(counts: "Counts", around: "Around") -> list[Styled]:
    """Say which stops hold parked messages, those with most first."""
    stops = {stop.scope: stop for stop in around.stops}
    by_count = sorted(counts.parked.items(), key=lambda each: -each[1])
    return [
        odd(f"{count:,} by {said_of(stops[scope], around.at, {})}")
        if scope in stops
        else Styled(f"{count:,} by {printable(scope)}, which was lifted: they go back to their lanes")
        for scope, count in by_count
        if count
    ]


def _show_all(*, as_json: bool) -> None:
    from dispatcher.cli.session import ask
    from dispatcher.store import cell as cells

    async def work(session: "Session") -> "Overview":
        return await session.follow(cells.overview(session.cell))

    found = ask(work)
    if as_json:
        write_json([for_machines(number) for number in found.numbers])
        return
    show_table(found.numbers, found.around, found.cell)
    _note_workers(found.around)
    if parked := parked_rows(found.counts, found.around):
        print()
        sheet([("parked", parked)])


def _show_one(named: str, *, as_json: bool) -> None:
    from dispatcher.cli.session import ask

    async def work(session: "Session") -> "tuple[str, Around, Standing]":
        return session.cell.name, *await _one(session, await session.dispatcher.number_id(named))

    cell, around, number = ask(work)
    if as_json:
        write_json(for_machines(number))
    else:
        show_table([number], around, cell)
        _note_workers(around)


def _note_workers(around: "Around") -> None:
    if not around.processes:
        note("no worker is alive: start one with `dispatcher worker`")


async def _one(session: "Session", number_id: str) -> "tuple[Around, Standing]":
    """Look at one number, and at what concerns all."""
    from dispatcher.store import cell as cells
    from dispatcher.store import numbers

    known = await session.run(numbers.get(session.cell, number_id))
    around = await session.follow(cells.around(session.cell))
    [found] = await session.follow(cells.standings(session.cell, [known], around))
    return around, found

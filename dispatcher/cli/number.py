"""`dispatcher numbers`: the numbers of a cell, and their pause."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.output import Json, fail, note, shown, table, write_json
from dispatcher.cli.stop import By, For, Until, ended_at, put

if TYPE_CHECKING:
    from dispatcher.cli.session import Session
    from dispatcher.store.cell import Gate, Standing
    from dispatcher.store.numbers import Registered
    from dispatcher.store.stops import Stop

app = typer.Typer(help="Show the numbers of the cell, pause and resume them.", invoke_without_command=True)

Named = Annotated[str, typer.Argument(metavar="NUMBER", help="Id or name of the number.")]


@app.callback()
def _numbers(context: typer.Context, as_json: Json = False) -> None:
    if context.invoked_subcommand is None:
        _show(None, as_json=as_json)
    elif as_json:
        raise typer.BadParameter(f"write --json behind {context.invoked_subcommand}")


@app.command("show")
def show(
    number: Annotated[str | None, typer.Argument(help="Id or name; all numbers if left out.")] = None,
    as_json: Json = False,
) -> None:
    """Show a number, or all: what waits, what holds it, and how many workers have its token."""
    _show(number, as_json=as_json)


@app.command("pause")
def pause(
    number: Named,
    reason: Annotated[str, typer.Option(help="Why, for whoever wonders.")] = "paused",
    until: Until = None,
    for_s: For = None,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Let nothing out of a number; its messages wait. The same as a stop on number:ID."""
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
        return lifted, (await _standings(session, number_id))[0]

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


def show_table(numbers: "Sequence[Standing]", cell: str) -> None:
    """Write the numbers for people; an empty registry says what to do."""
    if not numbers:
        note(
            f"no numbers registered in cell {cell}: start a worker or give DISPATCHER_NUMBERS_FILE to `dispatcher send`"
        )
        return
    columns = ("id", "name", "rate/s", "WABA", "urgent", "normal", "bulk", "gate", "stops", "workers", "served by")
    rows = [
        (n.number.id, n.number.name, n.rate_per_s, n.number.waba_id, *n.waiting, _gate(n.gate),
         [str(scope) for scope in n.stops], len(n.able), n.owner)
        for n in numbers
    ]  # fmt: skip
    table("", columns, rows)


def _gate(gate: "Gate") -> str:
    if gate.state == "open":
        return "open"
    until = f" until {gate.until:%H:%M:%SZ}" if gate.until else ""
    return f"{gate.state.replace('_', ' ')}{until}" + (f" ({gate.why})" if gate.why else "")


def _show(named: str | None, *, as_json: bool) -> None:
    from dispatcher.cli.session import ask

    async def work(session: "Session") -> "tuple[str, Sequence[Standing]]":
        number_id = None if named is None else await session.dispatcher.number_id(named)
        return session.cell.name, await _standings(session, number_id)

    cell, numbers = ask(work)
    if not as_json:
        show_table(numbers, cell)
    else:
        write_json(numbers if named is None else numbers[0])


async def _standings(session: "Session", number_id: str | None) -> "Sequence[Standing]":
    """Look at one number, or at all."""
    from dispatcher.store import cell as cells
    from dispatcher.store import numbers

    if number_id is None:
        known = await session.run(numbers.all_(session.cell))
    else:
        known = [await session.run(numbers.get(session.cell, number_id))]
    around = await session.follow(cells.around(session.cell))
    return await session.follow(cells.standings(session.cell, known, around))

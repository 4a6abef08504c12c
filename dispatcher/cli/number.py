"""`dispatcher numbers`: the numbers of a cell, and their pause."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli.output import Json, fail, note, shown, table, write_json
from dispatcher.cli.stop import By, For, Until, ended_at, put

if TYPE_CHECKING:
    from dispatcher.cli.session import Session
    from dispatcher.store.overview import Gate, NumberOverview
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
    from dispatcher.store.stops import Stop

    async def work(session: "Session") -> "tuple[Registered, Stop]":
        found = await session.registry.find(number)
        now = await session.overlook.now()
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

    async def work(session: "Session") -> "tuple[bool, NumberOverview]":
        found = await session.registry.find(number)
        lifted = await session.stops.lift(f"number:{found.id}", [found.id])
        return lifted, (await session.overlook.numbers([found]))[0]

    lifted, found = ask(work)
    name = found.name or found.id
    answer = {"number": found.id, "resumed": lifted, "stops": found.stops}
    if found.stops:
        note(f"{name} is still held by {', '.join(found.stops)}: see `dispatcher stops list`")
    if not lifted:
        fail(f"{name} was not paused: `dispatcher numbers show {name}` says how it stands", answer=answer)
    if as_json:
        write_json(answer)
    else:
        print(f"{name} resumed")


def show_table(numbers: "Sequence[NumberOverview]", cell: str) -> None:
    """Write the numbers for people; an empty registry says what to do."""
    if not numbers:
        note(
            f"no numbers registered in cell {cell}: start a worker or give DISPATCHER_NUMBERS_FILE to `dispatcher send`"
        )
        return
    columns = ("id", "name", "rate/s", "WABA", "urgent", "normal", "bulk", "gate", "stops", "workers", "served by")
    rows = [
        (n.id, n.name, n.rate_per_s, n.waba_id, n.waiting.urgent, n.waiting.normal, n.waiting.bulk, _gate(n.gate),
         n.stops, len(n.workers), n.served_by)
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

    async def work(session: "Session") -> "tuple[str, Sequence[NumberOverview]]":
        registered = await session.registry.all() if named is None else [await session.registry.find(named)]
        return session.cell, await session.overlook.numbers(registered)

    cell, numbers = ask(work)
    if not as_json:
        show_table(numbers, cell)
    else:
        write_json(numbers if named is None else numbers[0])

"""`dispatcher status`: how a message stands, or the whole cell, or which jobs were refused."""

from typing import TYPE_CHECKING, Annotated

import typer

from dispatcher.cli import number
from dispatcher.cli.output import Json, fail, note, sheet, table, write_json

if TYPE_CHECKING:
    from dispatcher.cli.session import Session
    from dispatcher.store.cell import Overview, RefusedJob, UnreadableUpdate
    from dispatcher.store.queue import Record


def status(
    key: Annotated[str | None, typer.Argument(help="The key of a message; without it, the whole cell.")] = None,
    refused: Annotated[bool, typer.Option("--refused", help="List jobs of arq producers that were refused.")] = False,
    unreadable: Annotated[
        bool, typer.Option("--unreadable", help="List parts of webhooks that could not be read.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say how a message stands, or the whole cell."""
    if (key is not None) + refused + unreadable > 1:
        raise typer.BadParameter("give a key, --refused or --unreadable, only one of them")
    if refused:
        _show_refused(as_json=as_json)
    elif unreadable:
        _show_unreadable(as_json=as_json)
    elif key is None:
        _show_cell(as_json=as_json)
    else:
        _show_message(key, as_json=as_json)


def _show_message(key: str, *, as_json: bool) -> None:
    from dispatcher.cli.session import ask
    from dispatcher.message.message import mask

    async def work(session: "Session") -> "Record | None":
        return await session.dispatcher.status(key)

    record = ask(work)
    if record is None:
        fail(f"{key} is not known, or no longer: check the key and DISPATCHER_CELL", field="key", key=key)
    if as_json:
        write_json(record)
        return
    sheet(
        [
            ("key", record.key),
            ("state", record.state),
            ("cause", record.cause),
            ("number", record.number),
            ("priority", record.priority),
            ("recipient", mask(record.recipient) if record.recipient else ""),
            ("attempts", record.attempts),
            ("wamid", record.wamid),
            ("error", record.error),
            ("enqueued", record.enqueued_at),
            ("due", record.due_at),
            ("claimed", record.claimed_at),
            ("settled", record.settled_at),
            ("expires", record.expires_at),
            *([("sent again without proof", record.unproven)] if record.unproven else []),
            *([("accepted again as", record.others)] if record.others else []),
        ]
    )


def _show_cell(*, as_json: bool) -> None:
    from dispatcher.cli.session import ask
    from dispatcher.store import cell as cells

    async def work(session: "Session") -> "Overview":
        return await session.follow(cells.overview(session.cell))

    cell = ask(work)
    if as_json:
        write_json(cell)
        return
    counts = cell.counts
    sheet(
        [
            ("cell", cell.cell),
            ("at", cell.around.at),
            ("workers", ", ".join(cell.around.processes) or "none alive: start one with `dispatcher worker`"),
            ("sending", counts.sending),
            ("uncertain", counts.uncertain),
            ("parked", sum(counts.parked.values())),
            ("dead", counts.dead),
            ("intake", f"{counts.intake} waiting, {counts.refused} refused"),
            ("webhooks", f"{counts.webhooks} not worked off, {counts.unreadable} unreadable"),
            ("stops", [stop.scope for stop in cell.around.stops]),
        ]
    )
    number.show_table(cell.numbers, cell.cell)


def _show_refused(*, as_json: bool) -> None:
    from dispatcher.cli.session import ask
    from dispatcher.store import cell as cells

    async def work(session: "Session") -> "list[RefusedJob]":
        return await session.run(cells.refused(session.cell))

    jobs = ask(work)
    if as_json:
        write_json(jobs)
    elif jobs:
        table("", ("job", "reason", "at", "bytes"), [(job.job, job.reason, job.at, job.size) for job in jobs])
    else:
        note("no job was refused")


def _show_unreadable(*, as_json: bool) -> None:
    from dispatcher.cli.session import ask
    from dispatcher.store import cell as cells

    async def work(session: "Session") -> "list[UnreadableUpdate]":
        return await session.run(cells.unreadable(session.cell))

    updates = ask(work)
    if as_json:
        write_json(updates)
    elif updates:
        rows = [(update.at, update.reason, len(update.raw)) for update in updates]
        table("", ("at", "reason", "characters"), rows)
        note("--json shows what came, which may hold what people wrote")
    else:
        note("everything could be read")

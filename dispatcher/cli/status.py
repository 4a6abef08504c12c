"""`dispatcher status`: how a message stands, how the whole cell does, and what could not be read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from dispatcher.cli import numbers as number_tables
from dispatcher.cli import stops as stop_tables
from dispatcher.cli.output import (
    Column,
    Json,
    Styled,
    TableRow,
    age,
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

if TYPE_CHECKING:
    from dispatcher.cli.session import Session
    from dispatcher.store.cell import Around, Counts, Overview, RefusedJob, Standing, UnreadableUpdate
    from dispatcher.store.numbers import Registered
    from dispatcher.store.queue import Record

_DIED: Final = {
    "rejected": "Meta refused it for good",
    "exhausted": "all its attempts are used up",
    "held": "nobody knows whether Meta accepted it, and sending it again could deliver it twice",
    "failed": "Meta accepted it and said later that it failed",
    "lapsed": "its worker died three times while sending it",
    "lost": "what was to be sent is gone",
}
_WORKERS_SHOWN: Final = 6


@dataclass(frozen=True, slots=True)
class _Found:
    """A message with what says why it stands as it does; `standing` is that of its number, while it waits."""

    record: "Record"
    number: "Registered"
    now: datetime
    around: "Around | None" = None
    standing: "Standing | None" = None


def status(
    key: Annotated[str | None, typer.Argument(help="The key of a message; without it, the whole cell.")] = None,
    refused: Annotated[bool, typer.Option("--refused", help="List jobs of arq producers that were refused.")] = False,
    unreadable: Annotated[
        bool, typer.Option("--unreadable", help="List parts of webhooks that could not be read.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show how one message stands and why, or the whole cell."""
    if (key is not None) + refused + unreadable > 1:
        raise typer.BadParameter("give only one of a key, --refused and --unreadable")
    if refused:
        _show_refused(as_json=as_json)
    elif unreadable:
        _show_unreadable(as_json=as_json)
    elif key is None:
        _show_cell(as_json=as_json)
    else:
        _show_message(key, as_json=as_json)


# one message


def _show_message(key: str, *, as_json: bool) -> None:
    from dispatcher.cli.session import ask

    async def work(session: "Session") -> "tuple[Record | None, _Found | None]":
        record = await session.dispatcher.status(key)
        return record, None if record is None or as_json else await _all_around(session, record)

    record, found = ask(work)
    if record is None:
        fail(f"{key} is not known (any more): check the key and DISPATCHER_CELL", field="key", key=key)
    if found is None:
        write_json(record)
    else:
        sheet(_sheet(found))


async def _all_around(session: "Session", record: "Record") -> _Found:
    from dispatcher.store import cell as cells
    from dispatcher.store import numbers

    number = await session.run(numbers.get(session.cell, record.number))
    now = await session.now()
    if record.state != "queued":
        return _Found(record, number, now)
    around = await session.follow(cells.around(session.cell))
    [standing] = await session.follow(cells.standings(session.cell, [number], around))
    return _Found(record, number, around.at or now, around, standing)


def _sheet(found: _Found) -> list[tuple[str, object]]:
    from dispatcher.message.message import mask

    record, now = found.record, found.now
    number, name = record.number, found.number.name
    again = f", {record.unproven} of them without proof that the one before was not accepted" if record.unproven else ""
    return [
        ("key", record.key),
        ("state", _state(record)),
        ("why", _why(found)),
        ("error", bad(record.error) if record.state == "dead" else record.error),
        ("attempts", f"{record.attempts}{again}"),
        ("number", f"{name} ({number})" if name else number),
        ("lane", record.priority),
        ("recipient", mask(record.recipient) if record.recipient else ""),
        ("wamid", record.wamid),
        ("accepted again as", [bad(wamid) for wamid in record.others.split()]),
        *((what, _time(at, now)) for what, at in _times(record)),
    ]


def _state(record: "Record") -> Styled:
    if record.state == "dead":
        return bad(f"dead: {record.cause}" if record.cause else "dead")
    if record.state == "uncertain":
        return odd(record.state)
    return Styled(f"{record.state} ({record.cause})" if record.cause and record.state != "queued" else record.state)


def _why(found: _Found) -> Styled:
    """Say what holds a message up, what it died of, or what comes next."""
    record = found.record
    if record.state == "queued":
        return _waits_for(found)
    if record.state == "dead":
        return bad(_DIED.get(record.cause, ""))
    if record.state == "uncertain":
        when = _next_look(record, found.now)
        return odd(f"it may have reached Meta, but the answer was lost; {when} whether to send it again")
    if record.state == "sending":
        return Styled("a worker is sending it")
    return Styled("")


def _next_look(record: "Record", now: datetime) -> str:
    if record.decides_at is None:
        return "a worker decides"
    if record.decides_at <= now:
        return "a worker decides now, if one is alive,"
    return f"a worker decides {age(record.decides_at, now)}"


def _waits_for(found: _Found) -> Styled:
    record = found.record
    kind, _, scope = record.cause.partition(":")
    match kind:
        case "stopped":
            return odd(f"stopped by {_stop(found, scope)}")
        case "blocked" if found.standing:
            why = f": {found.standing.gate_why}" if found.standing.gate_why else ""
            left_s = max(found.standing.till_us - found.standing.now_us, 0) / 1_000_000
            return odd(f"its number is blocked for another {span(left_s)}{why}")
        case "no_worker":
            return bad("no worker has the token of its number: start one, or add the number to its numbers file")
        case "not_before":
            return Styled(f"it must not be sent yet; it is due {age(record.due_at, found.now)}")
        case "pair":
            return Styled(
                f"this person got many messages from this number; tried again {age(record.due_at, found.now)}"
            )
    return Styled(f"it waits for its turn{_turn(found)}")


def _turn(found: _Found) -> str:
    """Say how long the last message of its lane waits, if that is known."""
    if found.standing is None:
        return ""
    lanes = dict(zip(("urgent", "normal", "bulk"), found.standing.wait_s, strict=True))
    wait_s = lanes.get(found.record.priority, math.inf)
    return "" if math.isinf(wait_s) else f": {span(wait_s)} at most"


def _stop(found: _Found, scope: str) -> str:
    names = {found.number.id: found.number.name}
    around = found.around
    stop = next((stop for stop in around.stops if stop.scope == scope), None) if around else None
    return stop_tables.said_of(stop, found.now, names) if stop else stop_tables.named_scope(scope, names)


def _times(record: "Record") -> list[tuple[str, datetime | None]]:
    is_waiting = record.state == "queued"
    has_ended = record.state not in {"queued", "sending", "uncertain"}
    return [
        ("enqueued", record.enqueued_at),
        ("due", record.due_at if is_waiting else None),
        ("claimed", record.claimed_at),
        ("settled", record.settled_at),
        ("expires", None if has_ended else record.expires_at),
    ]


def _time(at: datetime | None, now: datetime) -> str:
    return f"{age(at, now)} ({shown(at)})" if at else ""


# the whole cell


def _show_cell(*, as_json: bool) -> None:
    from dispatcher.cli.session import ask
    from dispatcher.store import cell as cells
    from dispatcher.store import queue

    async def work(session: "Session") -> "tuple[Overview, dict[str, int]]":
        cell = await session.follow(cells.overview(session.cell))
        return cell, await session.follow(queue.dead_by_code(session.cell)) if cell.counts.dead else {}

    cell, by_code = ask(work)
    if as_json:
        write_json(_for_machines(cell, by_code))
        return
    counts = cell.counts
    sheet(
        [
            ("cell", f"{cell.cell}, at {shown(cell.around.at)}"),
            ("workers", _workers(cell.around.processes)),
            ("sending", counts.sending),
            ("uncertain", _uncertain(counts.uncertain)),
            ("parked", number_tables.parked_rows(counts, cell.around) or "0"),
            ("dead", _dead(counts.dead, by_code, _died(cell.happened))),
            ("arq jobs", [f"{counts.intake:,} waiting", *_listed(counts.refused, "refused")]),
            ("webhooks", [_webhooks(counts, cell.around.doors), *_listed(counts.unreadable, "unreadable")]),
        ]
    )
    if cell.around.stops and cell.around.at:
        print()
        stop_tables.show_table(cell.around.stops, cell.around.at)
    if cell.numbers:
        print()
    number_tables.show_table(cell.numbers, cell.around, cell.cell)


def _for_machines(cell: "Overview", by_code: Mapping[str, int]) -> dict[str, Any]:
    counts = cell.counts
    return {
        "cell": cell.cell,
        "at": cell.around.at,
        "processes": cell.around.processes,
        "doors": cell.around.doors,
        "counts": {
            "sending": counts.sending,
            "uncertain": counts.uncertain,
            "parked": sum(counts.parked.values()),
            "parked_by_scope": dict(counts.parked),
            "dead": counts.dead,
            "intake": counts.intake,
            "refused": counts.refused,
            "webhooks": counts.webhooks,
            "unreadable": counts.unreadable,
        },
        "dead_by_code": by_code,
        "died": _died(cell.happened),
        "stops": [stop.scope for stop in cell.around.stops],
        "numbers": [number_tables.for_machines(number) for number in cell.numbers],
    }


def _workers(processes: tuple[str, ...]) -> Styled:
    if not processes:
        return bad("none alive: start one with `dispatcher worker`")
    more = f" and {len(processes) - _WORKERS_SHOWN:,} more" if len(processes) > _WORKERS_SHOWN else ""
    return Styled(f"{len(processes):,} alive: {printable(', '.join(processes[:_WORKERS_SHOWN]))}{more}")


def _uncertain(count: int) -> object:
    return odd(f"{count:,}, until receipts or their absence show what became of them") if count else "0"


def _died(happened: "Mapping[tuple[str, ...], int]") -> dict[str, int]:
    """Return how many messages died of what since the cell began; those replayed or dropped since are among them."""
    return {cause: count for (what, *labels), count in sorted(happened.items())
            if what == "settled" and labels[:1] == ["dead"] for cause in labels[1:]}  # fmt: skip


def _dead(count: int, by_code: Mapping[str, int], died: Mapping[str, int]) -> object:
    if not count:
        return "0"
    examined = sum(by_code.values())
    of = "" if examined == count else f"of the newest {examined:,}: "
    so_far = [Styled(f"{of}{_most_first(by_code)}")] if by_code else []
    if died:
        so_far.append(Styled(f"since the cell began: {_most_first(died)}"))
    return [bad(f"{count:,}; `dispatcher events --type dead` lists them with their errors"), *so_far]


def _most_first(counts: Mapping[str, int]) -> str:
    return ", ".join(
        f"{count:,} {name}" for name, count in sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    )


def _listed(count: int, what: str) -> list[Styled]:
    return [odd(f"{count:,} {what}: `dispatcher status --{what}` lists them")] if count else []


def _webhooks(counts: "Counts", doors: int) -> str:
    endpoints = f"{doors:,} endpoint{'' if doors == 1 else 's'} open" if doors else "no endpoint open"
    return f"{endpoints}, {counts.webhooks:,} waiting"


# what could not be read


def _show_refused(*, as_json: bool) -> None:
    from dispatcher.cli.session import ask
    from dispatcher.store import cell as cells

    async def work(session: "Session") -> "list[RefusedJob]":
        return await session.run(cells.refused(session.cell))

    jobs = ask(work)
    if as_json:
        write_json(jobs)
    elif jobs:
        columns = (Column("job"), Column("at"), Column("bytes", right=True))
        table(columns, [TableRow((job.job, job.at, job.size), [odd(job.reason)]) for job in jobs], below="reason")
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
        columns = (Column("at"), Column("characters", right=True))
        table(
            columns,
            [TableRow((update.at, len(update.raw)), [odd(update.reason)]) for update in updates],
            below="reason",
        )
        note("--json shows what came; it may contain what people wrote")
    else:
        note("everything could be read")

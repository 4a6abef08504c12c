"""What was measured, as tables for people."""

import platform
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from dispatcher.store.embedded import find_server
from tests.bench.aims import ANSWERS, aim_of, waited_for_core
from tests.bench.harness import cores

Row = dict[str, Any]


def machine() -> Row:
    """Where this was measured."""
    return {
        "cores": cores(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "server": find_server().name,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def show(figures: Row, console: Console) -> None:
    """Print tables, and the aims that were missed."""
    where = figures["machine"]
    console.print(
        f"{where['cores']} cores, Python {where['python']}, {where['system']}, {where['server']}, {where['at']}"
    )
    for table in _tables(figures):
        console.print(table)
    for aim in figures["missed"]:
        console.print(f"[red]missed[/red] {aim}")
    if not figures["missed"]:
        console.print("[green]all aims met[/green]")


def _tables(figures: Row) -> list[Table | str]:
    tables: list[Table | str] = []
    if "pacing" in figures:
        tables.append(_pacing(figures["pacing"]))
    if latencies := _latency_rows(figures):
        tables.append(_latency(latencies))
    if found := figures.get("throughput"):
        tables += [_throughput(course, found[course]) for course in ANSWERS if course in found]
        tables += [f"{name} left out: {why}" for name, why in found["left_out"].items()]
    if found := figures.get("scale"):
        tables += [_memory(found["memory"]), _claims(found["claims"]), _idle(found["idle"])]
    if "reload" in figures:
        tables.append(_reload(figures["reload"]))
    if rows := figures.get("edges"):
        tables.append(_edges(rows))
    return tables


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _pacing(rows: list[Row]) -> Table:
    table = _table(
        "Pacing", "rate/s", "processes", "largest window", "leaving", "margin ms", "used", "gap p99 ms", "scripts/message",
        "workers (cores)", "simulator", "redis", "others", "waited",
    )  # fmt: skip
    for row in rows:
        cpu = row["cores"]
        workers = [f"{share:.2f}" for name, share in cpu.items() if name.startswith("worker")]
        table.add_row(
            str(row["rate_per_s"]), str(row["processes"]), str(row["largest_window"]),
            str(row["largest_window_leaving"]), _figure(row["smallest_margin_ms"]), f"{row['used']:.1%}", _figure(row["gaps_ms"].get("p99")),
            f"{row['scripts_per_message']:.2f}", " ".join(workers), _figure(cpu.get("simulator"), 2),
            _figure(cpu.get("redis"), 2), _figure(cpu.get("others"), 2), waited_for_core(row),
        )  # fmt: skip
    return table


def _latency_rows(figures: Row) -> list[tuple[str, Row]]:
    rows = [(f"idle number, {row['processes']} processes", row) for row in figures.get("idle", ())]
    if urgent := figures.get("urgent"):
        rows.append((f"urgent, {urgent['bulk_waiting']} bulk waiting", urgent))
    return rows + [(f"second number, first {row['state']}", row) for row in figures.get("isolation", ())]


def _latency(rows: list[tuple[str, Row]]) -> Table:
    table = _table("Enqueue to POST, ms", "", "messages", "p50", "p90", "p99", "max", "others (cores)", "waited")
    for name, row in rows:
        figures = (_figure(row[which]) for which in ("p50_ms", "p90_ms", "p99_ms", "max_ms"))
        table.add_row(name, str(row["count"]), *figures, _figure(row["cores"].get("others"), 2), waited_for_core(row))
    return table


def _throughput(course: str, found: Row) -> Table:
    ratios = [f"{name} {ratio['median']:.2f} of {ratio['rounds']}" for name, ratio in found["ratios"].items()]
    sink = found["sink"]
    table = _table(
        f"Unpaced, one process, {ANSWERS[course]}: {'; '.join(ratios)}; the endpoint took {sink['most_per_s']:.0f}/s "
        f"from {sink['most_by']}",
        "", "in flight", "messages", "per s", "rounds", "worker µs", "redis µs", "endpoint µs", "endpoint (cores)",
        "others", "scripts", "all commands",
    )  # fmt: skip
    for name, row in found["middles"].items():
        rounds = " ".join(f"{one['per_s']:.0f}" for one in found["rounds"][name])
        cpu = row["cores"]
        table.add_row(
            name, _in_flight(row), str(row["messages"]), f"{row['per_s']:.0f}", rounds,
            _figure(row.get("worker_us"), 0), _figure(row.get("redis_us"), 0), _figure(row.get("sink_us"), 0),
            _figure(cpu.get("simulator"), 2), _figure(cpu.get("others"), 2),
            _figure(row.get("scripts_per_message"), 2), _figure(row.get("commands_per_message")),
        )  # fmt: skip
    return table


def _in_flight(row: Row) -> str:
    """How many at once; of ours, whose room is only a limit, also the most that was seen claimed and not settled."""
    return f"{row['in_flight']}, seen {row['most_claimed']}" if "most_claimed" in row else str(row["in_flight"])


def _memory(found: Row) -> Table:
    table = _table(
        f"Bytes a message in Redis, bodies of {found['body_bytes']}; {found['enqueued_per_s']} a second from one producer",
        "", "messages", "in all", "record", "body", "sets", "events",
    )  # fmt: skip
    for state in ("waiting", "finished"):
        row = found[state]
        parts = (str(row[f"{part}_bytes"]) for part in ("used", "record", "body", "sets", "events"))
        table.add_row(state, str(found["messages"]), *parts)
    return table


def _claims(rows: list[Row]) -> Table:
    table = _table(
        "Claims, µs in the server", "waiting", "numbers", "messages each", "p50", "p99", "as filled p50", "times", "as filled times",
        "take p50", "filled in s",
    )  # fmt: skip
    for row in rows:
        for case in (row["few"], row["many"]):
            times = (f"{row['times']:.2f}", f"{row['filled_times']:.2f}") if case is row["many"] else ("", "")
            table.add_row(
                str(case["waiting"]), str(case["numbers"]), str(case["claimed_each"]), _figure(case["p50_us"], 0),
                _figure(case["p99_us"], 0), _figure(case["filled_p50_us"], 0), *times, _figure(case["take_p50_us"], 0),
                _figure(case["filled_s"]),
            )  # fmt: skip
    return table


def _idle(row: Row) -> Table:
    table = _table("A process that serves nothing", "worker (cores)", "redis (cores)", "commands/s", "scripts/s")
    table.add_row(
        _figure(row["worker_share"], 3), _figure(row["redis_share"], 3), _figure(row["commands_per_s"]),
        _figure(row["scripts_per_s"]),
    )  # fmt: skip
    return table


def _reload(rows: list[Row]) -> Table:
    table = _table(
        f"Event loop while files of {rows[0]['numbers']} numbers change: lag in ms, and how much of it was the worker's own",
        "", "took s", "measured", "posted", "own p99", "own max", "lag p99", "lag max", "waited",
    )  # fmt: skip
    for row in rows:
        lags = (_figure(row[which]) for which in ("own_p99_ms", "own_max_ms", "lag_p99_ms", "lag_max_ms"))
        took_s = _figure(row["took_s"])
        table.add_row(row["change"], took_s, str(row["measured"]), str(row["posted"]), *lags, waited_for_core(row))
    return table


def _edges(rows: list[Row]) -> Table:
    table = _table("Around the worker", "", "", "", "aim")
    for row in rows:
        table.add_row(row["what"], _figure(row["figure"]), row["unit"], aim_of(row))
    return table


def _figure(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:.{digits}f}"

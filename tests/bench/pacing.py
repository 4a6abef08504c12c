"""How near a number's rate its messages leave, and whether they ever exceed it."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.bench.cloud import Arrival
from tests.bench.harness import NUMBER, Rig, percentile, rig, until

Say = Callable[[str], None]
Row = dict[str, Any]

RATES = (20, 80, 1000)
PROCESSES = (1, 2, 4)
_SETTLE_S = 1.0
# Until all workers run; meanwhile the first of them already sends.
_START_S = 8.0
_SECOND_NS = 1_000_000_000


async def measure(say: Say, *, seconds: float, rates: tuple[int, ...], processes: tuple[int, ...]) -> list[Row]:
    """One row for each rate and number of processes."""
    rows = []
    for rate in rates:
        for count in processes:
            row = await _measure(rate, count, seconds)
            say(f"pacing {rate}/s, {count} processes: window {row['largest_window']}, {row['used']:.1%} used")
            rows.append(row)
    return rows


async def _measure(rate: int, processes: int, seconds: float) -> Row:
    async with rig(rate=rate) as it:
        await it.enqueue(round(rate * (seconds + _SETTLE_S + _START_S)) + 10)
        await it.start(processes)
        await until(lambda: _has_begun(it), 10)
        await asyncio.sleep(_SETTLE_S)
        commands, meter, begin_ns = await it.commands(), it.meter(), time.monotonic_ns()
        await asyncio.sleep(seconds)
        end_ns, shares = time.monotonic_ns(), meter.shares()
        commands_after = await it.commands()
        left = await it.waiting()
        report, arrivals = await it.cloud.report(), await it.cloud.arrivals()
        logs = [worker.log for worker in it.workers]
        it.stop()
        left_window = _window([at_ns for log in logs for at_ns in departures(log)])
    within = [one for one in arrivals if begin_ns <= one.at_ns < end_ns]
    page = report["numbers"][NUMBER]
    return {
        "rate_per_s": rate,
        "processes": processes,
        "seconds": round((end_ns - begin_ns) / 1e9, 3),
        "largest_window": page["largest_window"],
        "largest_window_leaving": left_window,
        "smallest_margin_ms": page["smallest_margin_ms"],
        "over_limit": report["over_limit"],
        "used": len(within) / (rate * (end_ns - begin_ns) / 1e9),
        "scripts_per_message": _scripts(commands_after, commands) / max(1, len(within)),
        "gaps_ms": _gaps(within),
        "busiest": _busiest(arrivals),
        **shares,
        "backlog_left": left,
    }


async def _has_begun(it: Rig) -> bool:
    return bool((await it.cloud.report())["requests"])


def _scripts(after: dict[str, int], before: dict[str, int]) -> int:
    return after.get("evalsha", 0) - before.get("evalsha", 0)


def _gaps(arrivals: list[Arrival]) -> dict[str, float]:
    """Times between arrivals, in ms: a late claim shows as a gap."""
    gaps = [(later.at_ns - one.at_ns) / 1e6 for one, later in pairwise(arrivals)]
    if not gaps:
        return {}
    return {"p50": round(percentile(gaps, 0.5), 3), "p99": round(percentile(gaps, 0.99), 3), "max": round(max(gaps), 3)}


def departures(log: Path) -> Iterator[int]:
    """When each POST left its worker by the worker's own clock, in ns: one event an attempt, less what it took."""
    for line in log.read_text(errors="replace").splitlines():
        if '"attempt.ended"' not in line:
            continue
        event = json.loads(line)
        ended = datetime.fromisoformat(event["timestamp"].replace("Z", "+00:00"))
        yield round((ended.timestamp() - event["duration_ms"] / 1000) * _SECOND_NS)


def _window(times_ns: list[int]) -> int:
    """The most that any one-second window holds."""
    times_ns.sort()
    first, most = 0, 0
    for last, at_ns in enumerate(times_ns):
        while at_ns - times_ns[first] >= _SECOND_NS:
            first += 1
        most = max(most, last - first + 1)
    return most


def _busiest(arrivals: list[Arrival]) -> dict[str, float]:
    """The second with most arrivals: when it began, from the first arrival on, and how long nothing came before it.

    What was held up somewhere shows as a pause before a window that is too full.
    """
    first, most, began = 0, 0, 0
    for last, one in enumerate(arrivals):
        while one.at_ns - arrivals[first].at_ns >= _SECOND_NS:
            first += 1
        if last - first + 1 > most:
            most, began = last - first + 1, first
    pause_ns = arrivals[began].at_ns - arrivals[max(0, began - 1)].at_ns
    return {
        "from_s": round((arrivals[began].at_ns - arrivals[0].at_ns) / 1e9, 3),
        "pause_before_ms": round(pause_ns / 1e6, 1),
    }

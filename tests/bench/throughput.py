"""How much one process delivers when no rate holds it back, beside others, round by round."""

import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench import bull, contestants
from tests.bench.contestants import Course, most_in_flight

Say = Callable[[str], None]
Row = dict[str, Any]
Rows = dict[str, list[Row]]
Run = Callable[[], Awaitable[Row]]

ARQ_IN_FLIGHT = (30, 100, 150)
FEW_IN_FLIGHT = 300
OURS = "dispatcher"
ENGINE = "engine alone"
ENGINE_FEW = "engine alone, few"
TWO_ENGINES = "two engines"
BULL = "bullmq"
BULL_FEW = "bullmq, few"
ARQ = "stock arq"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured; stock arq's settings are tried with an eighth of its messages, the best then counts."""

    count: int
    arq_count: int
    rounds: int
    arq_in_flight: tuple[int, ...]
    with_bullmq: bool = True


async def measure(say: Say, plan: Plan) -> Row:
    """Answers after 150 ms, then instant ones; all contestants take turns, so that noise meets each of them."""
    with tempfile.TemporaryDirectory(prefix="dispatcher-bench-node-") as name:
        installed, left_out = None, {}
        try:
            if not plan.with_bullmq:
                raise bull.Missing("not wanted")
            installed = bull.install(Path(name))
        except bull.Missing as exc:
            left_out["bullmq"] = str(exc)
            say(f"throughput: bullmq is left out: {exc}")
        slow, instant = Course(plan.count, is_instant=False), Course(plan.count, is_instant=True)
        arq = replace(slow, count=plan.arq_count)
        best_arq = await _best_arq(say, arq, plan.arq_in_flight)
        return {
            "left_out": left_out,
            "in_flight": most_in_flight(),
            "slow": await compared(
                say, "150 ms", plan.rounds, {**_runs(slow, installed), ARQ: partial(contestants.arq, arq, best_arq)}
            ),
            "instant": await compared(say, "instant", plan.rounds, _runs(instant, installed)),
        }


async def _best_arq(say: Say, course: Course, tried: tuple[int, ...]) -> int:
    """Find the setting that is best for stock arq."""
    if len(tried) == 1:
        return tried[0]
    brief, per_s = replace(course, count=course.count // 8), {}
    for in_flight in tried:
        per_s[in_flight] = (await contestants.arq(brief, in_flight))["per_s"]
        say(f"throughput, stock arq tried with {in_flight} jobs at once: {per_s[in_flight]:.0f}/s")
    return max(per_s, key=lambda in_flight: per_s[in_flight])


def _runs(course: Course, installed: Path | None) -> dict[str, Run]:
    """Who takes part, in the order of a round: those who are compared most closely are neighbours."""
    most = most_in_flight()
    runs: dict[str, Run] = {
        TWO_ENGINES: partial(contestants.engine, course, most, processes=2),
        ENGINE_FEW: partial(contestants.engine, course, FEW_IN_FLIGHT),
        ENGINE: partial(contestants.engine, course, most),
        OURS: partial(contestants.dispatcher, course),
    }
    if installed is not None:
        runs[BULL_FEW] = partial(contestants.bullmq, course, FEW_IN_FLIGHT, installed)
        runs[BULL] = partial(contestants.bullmq, course, most, installed)
    return runs


async def compared(say: Say, answers: str, rounds: int, runs: dict[str, Run]) -> Row:
    """Run all of them so many times; the rounds, the middle one of each, and how ours compare."""
    rows: Rows = {name: [] for name in runs}
    for turn in range(rounds):
        # there and back again, so that nobody always has the warmer or the quieter machine
        for name in list(runs) if turn % 2 == 0 else reversed(runs):
            row = await runs[name]()
            say(f"throughput, {answers}, {name}: {row['per_s']:.0f}/s, {row.get('worker_us', 0)} µs a message")
            rows[name].append(row)
    middles = {name: _middle(each) for name, each in rows.items()}
    return {"rounds": rows, "middles": middles, "ratios": _ratios(rows), "sink": _sink(middles)}


def _middle(rows: list[Row]) -> Row:
    """The round in the middle, by speed; of two, the slower."""
    return sorted(rows, key=lambda row: float(row["per_s"]))[(len(rows) - 1) // 2]


def _ratios(rows: Rows) -> Row:
    """Ours to others', round by round, as neighbours in time have the same noise; and the median of those."""
    found: dict[str, list[float]] = {"share_of_engine": _each(rows[OURS], rows[ENGINE], "per_s")}
    if all("worker_us" in row for row in rows[OURS]):
        found["cpu_of_engine"] = _each(rows[OURS], rows[ENGINE], "worker_us")
    if ARQ in rows:
        found["times_arq"] = _each(rows[OURS], rows[ARQ], "per_s")
    if BULL in rows:
        pairs = zip(rows[BULL], rows[BULL_FEW], strict=True)
        better = [max(pair, key=lambda row: float(row["per_s"])) for pair in pairs]
        found["times_bullmq"] = _each(rows[OURS], better, "per_s")
    return {name: {"median": round(median(each), 3), "rounds": each} for name, each in found.items()}


def _each(ours: list[Row], theirs: list[Row], figure: str) -> list[float]:
    return [round(one[figure] / other[figure], 3) for one, other in zip(ours, theirs, strict=True)]


def _sink(middles: dict[str, Row]) -> Row:
    """How much the endpoint took from whom, and how busy it was: it must not be what is measured."""
    most = max(middles, key=lambda name: float(middles[name]["per_s"]))
    return {
        "most_per_s": middles[most]["per_s"],
        "most_by": most,
        "times_ours": round(middles[most]["per_s"] / middles[OURS]["per_s"], 2),
        "cores": {name: row["cores"]["simulator"] for name, row in middles.items() if "simulator" in row["cores"]},
    }

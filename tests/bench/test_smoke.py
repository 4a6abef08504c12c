"""The measurements run and say what they should; how fast anything was is not asked here."""

import argparse
import asyncio
import json
from typing import Any

from tests.bench import __main__ as bench
from tests.bench import report


def _measured(*arguments: str) -> dict[str, Any]:
    given: argparse.Namespace = bench.parser().parse_args(["--quick", *arguments])
    found = asyncio.run(bench.measure(given))
    return dict(json.loads(json.dumps(found)))


def test_short_measurements_give_whole_figures() -> None:
    found = _measured("--only", "pacing,idle", "--seconds", "0.5", "--rates", "80", "--processes", "1")
    assert list(found) == ["machine", "quick", "pacing", "idle", "missed"]
    (row,) = found["pacing"]
    assert (row["rate_per_s"], row["processes"]) == (80, 1)
    assert 0 < row["used"] < 1
    assert {"smallest_margin_ms", "used", "gaps_ms", "busiest", "cores", "waited"} <= row.keys()
    (idle,) = found["idle"]
    assert (idle["count"], idle["processes"]) == (30, 1)
    assert 0 < idle["p50_ms"] <= idle["p90_ms"] <= idle["p99_ms"] <= idle["max_ms"]


def test_missed_aims_are_named() -> None:
    row = {"rate_per_s": 80, "processes": 2, "largest_window": 81, "largest_window_leaving": 78, "used": 0.94}
    figures = {
        "pacing": [
            {**row, "gaps_ms": {"max": 20.0}},
            {**row, "used": 0.96, "gaps_ms": {"max": 160.0}},
            {**row, "used": 0.96, "gaps_ms": {"max": 160.0}, "largest_window_leaving": 81},
        ],
        "idle": [{"processes": 1, "p99_ms": 31.0}],
        "urgent": {"p99_ms": 101.0},
        "throughput": {"times_arq": 7.9},
    }
    assert report.missed(figures) == [
        "pacing at 80/s with 2 processes: a window of 81 arrived, of 78 when they left the workers",
        "pacing at 80/s with 2 processes: 94.0% of the rate used, at least 95% wanted",
        "pacing at 80/s with 2 processes: a window of 81 arrived, of 81 when they left the workers",
        "idle number with 1 processes: p99 31.0 ms, at most 30 wanted",
        "urgent past a campaign: p99 101.0 ms, at most 100 wanted",
        "throughput: 7.9 times stock arq, at least 8 wanted",
    ]
    assert report.missed({"pacing": [], "urgent": {"p99_ms": 100.0}}) == []

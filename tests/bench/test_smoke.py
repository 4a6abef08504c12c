"""The measurements run and say what they should; how fast anything was is not asked here."""

import argparse
import asyncio
import io
import json
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from dispatcher import Dispatcher
from dispatcher.store import numbers
from dispatcher.store.connection import connect
from dispatcher.store.embedded import Server
from dispatcher.store.pipeline import Pipeline
from tests.bench import __main__ as bench
from tests.bench import aims, bull, contestants, isolation, report, throughput
from tests.bench.contestants import Course
from tests.bench.filling import fill
from tests.bench.harness import CELL, NUMBER, WABA, message
from tests.store.cell import published

pytestmark = pytest.mark.long


def _measured(*arguments: str) -> dict[str, Any]:
    given: argparse.Namespace = bench.parser().parse_args(["--quick", *arguments])
    found = asyncio.run(bench.measure(given))
    return dict(json.loads(json.dumps(found)))


def test_short_measurements_give_whole_figures() -> None:
    found = _measured("--only", "pacing,idle", "--seconds", "0.5", "--rates", "80", "--processes", "1")
    assert list(found) == ["machine", "quick", "pacing", "idle", "missed"]
    (row,) = found["pacing"]
    assert (row["rate_per_s"], row["processes"]) == (80, 1)
    assert row["used"] >= 0
    assert {"smallest_margin_ms", "used", "gaps_ms", "busiest", "cores", "waited"} <= row.keys()
    (idle,) = found["idle"]
    assert (idle["count"], idle["processes"]) == (30, 1)
    assert 0 < idle["p50_ms"] <= idle["p90_ms"] <= idle["p99_ms"] <= idle["max_ms"]


async def test_trouble_on_one_number_is_measured_beside_another() -> None:
    states = ("calm", "throttled")
    rows = await isolation.measure(lambda _: None, count=10, backlog=100, states=states)
    assert tuple(row["state"] for row in rows) == states
    assert all(0 < row["p50_ms"] <= row["p99_ms"] for row in rows)
    assert rows[1]["first_number"]["gate"] == "throttled"


def test_scale_gives_whole_figures() -> None:
    found = _measured("--only", "scale")["scale"]
    assert list(found) == ["memory", "idle", "claims"]
    waiting, finished = found["memory"]["waiting"], found["memory"]["finished"]
    assert min(waiting[part] for part in ("used_bytes", "record_bytes", "body_bytes", "sets_bytes")) > 0
    assert min(finished[part] for part in ("used_bytes", "record_bytes", "events_bytes")) > 0
    assert found["idle"]["scripts_per_s"] >= 0
    assert [row["many"]["numbers"] for row in found["claims"]] == [1, 100]
    assert all(case["p50_us"] > 0 for row in found["claims"] for case in (row["few"], row["many"]))


def test_reload_watches_the_loop_through_each_change() -> None:
    found = _measured("--only", "reload")["reload"]
    assert [(row["change"], row["numbers"]) for row in found] == [("calm", 200), ("rates", 200), ("tokens", 200)]
    assert all(0 <= row["own_max_ms"] <= row["lag_max_ms"] for row in found)
    text = io.StringIO()
    report.show({"machine": report.machine(), "reload": found, "missed": []}, Console(file=text, width=160))
    assert "Event loop while files of 200 numbers change" in text.getvalue()


def test_the_edges_give_whole_figures() -> None:
    found = _measured("--only", "edges")
    assert len(found["edges"]) == 6
    assert all(row["figure"] > 0 and row["unit"] and aims.aim_of(row) for row in found["edges"])
    text = io.StringIO()
    report.show(found, Console(file=text, width=160))
    assert "simulator, instant answers" in text.getvalue()


async def test_throughput_compares_round_by_round() -> None:
    course = Course(200, is_instant=True)
    runs: dict[str, throughput.Run] = {
        throughput.TWO_ENGINES: partial(contestants.engine, course, 20, processes=2),
        throughput.ENGINE: partial(contestants.engine, course, 20),
        throughput.OURS: partial(contestants.dispatcher, course),
        throughput.ARQ: partial(contestants.arq, course, 150),
    }
    found = await throughput.compared(lambda _: None, "instant", 1, runs)
    assert set(found["ratios"]) == {"share_of_engine", "cpu_of_engine", "times_arq"}
    assert found["middles"]["two engines"]["messages"] == 400
    speed = {"left_out": {"bullmq": "no node"}, "instant": found}
    assert aims.missed({"throughput": speed}) is not None
    text = io.StringIO()
    report.show({"machine": report.machine(), "throughput": speed, "missed": []}, Console(file=text, width=160))
    assert "bullmq left out: no node" in text.getvalue()


def test_without_node_bullmq_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(bull.Missing, match="no node"):
        bull.install(tmp_path)


async def test_a_message_that_comes_twice_spoils_a_run() -> None:
    async with Course(2, is_instant=True).rig() as it:
        async with httpx.AsyncClient(trust_env=False) as http:
            for _ in range(2):
                await http.post(it.cloud.url, content=b'{"biz_opaque_callback_data":"d1:1:same"}')
        with pytest.raises(RuntimeError, match="posts=2, once=0"):
            await contestants.row_of(it, 2, 0)


async def test_a_fill_by_the_server_is_what_a_producer_would_have_queued() -> None:
    with Server() as server:
        redis = connect(server.url, CELL, timeout_s=10)
        await Pipeline(redis).follow(numbers.publish(CELL, [published(NUMBER, "bench", 80, WABA)]))
        await fill(redis, 2)
        (filled, _), _ = await _waiting(redis)
        async with Dispatcher.connect(server.url) as producer:
            await producer.send(message("by-hand", 0, "bulk"))
        by_hand = b"by-hand"
        ours, theirs = await _lying(redis, filled), await _lying(redis, by_hand)
        await redis.aclose()
    assert ours == theirs


async def _waiting(redis: Any) -> tuple[list[bytes], int]:
    lane = CELL.lane(NUMBER, 2)
    return await redis.zrange(lane, 0, -1), await redis.zcard(lane)


async def _lying(redis: Any, key: bytes) -> dict[str, Any]:
    """What there is of a message, but for its times and the fingerprint of its recipient."""
    prefix = CELL.prefix.encode()
    record = await redis.hgetall(prefix + b"msg:" + key)
    lasts = int(record[b"expires"]) - int(record[b"due"])
    changing = {b"enqueued", b"due", b"expires", b"fingerprint"}
    listed = [await redis.zscore(name, key) for name in (CELL.lane(NUMBER, 2), CELL.key("expiry"))]
    return {
        "record": {name: value for name, value in record.items() if name not in changing},
        "fields": sorted(record),
        "lasts": lasts,
        "body": await redis.get(prefix + b"body:" + key),
        "in lane and expiry": [int(score) for score in listed] == [int(record[b"due"]), int(record[b"expires"])],
    }


def test_missed_aims_are_named() -> None:
    row = {"rate_per_s": 80, "processes": 2, "largest_window": 81, "largest_window_leaving": 78, "used": 0.94}
    figures: dict[str, Any] = {
        "pacing": [
            {**row, "gaps_ms": {"max": 20.0}},
            {**row, "used": 0.96, "gaps_ms": {"max": 160.0}},
            {**row, "used": 0.96, "gaps_ms": {"max": 160.0}, "largest_window_leaving": 81},
        ],
        "idle": [{"processes": 1, "p99_ms": 31.0}],
        "urgent": {"p99_ms": 101.0},
        "isolation": [
            {"state": "busy", "p99_over_calm_ms": 50.0},
            {"state": "hanging", "p99_over_calm_ms": 20.5},
            {"state": "stopped", "p99_over_calm_ms": 20.0},
        ],
        "throughput": {
            "slow": {
                "ratios": {"times_arq": {"median": 7.9}, "share_of_engine": {"median": 0.69}},
                "sink": {"times_ours": 1.1, "most_by": "two engines", "cores": {"two engines": 0.4}},
            },
            "instant": {
                "ratios": {
                    "share_of_engine": {"median": 0.5},
                    "cpu_of_engine": {"median": 1.8},
                    "times_bullmq": {"median": 0.9},
                },
                "sink": {"times_ours": 3.0, "most_by": "two engines", "cores": {"two engines": 0.4}},
            },
        },
        "scale": {
            "memory": {
                "waiting": {"used_bytes": 1201},
                "finished": {"used_bytes": 900, "record_bytes": 251, "sets_bytes": 0},
            },
            "idle": {"worker_share": 0.06},
            "claims": [
                {
                    "few": {"waiting": 1000, "numbers": 1},
                    "many": {"waiting": 1_000_000, "numbers": 1},
                    "times": 1.5,
                }
            ],
        },
        "edges": [
            {"what": "a", "figure": 1.0, "unit": "ms", "most": 1.0},
            {"what": "b", "figure": 1.5, "unit": "ms", "most": 1.0},
            {"what": "c", "figure": 1.5, "unit": "a second", "least": 2.0},
        ],
    }
    figures["reload"] = [
        {"change": "calm", "numbers": 10_000, "own_max_ms": 25.0},
        {"change": "rates", "numbers": 10_000, "own_max_ms": 26.1},
    ]
    assert aims.missed(figures) == [
        "pacing at 80/s with 2 processes: a window of 81 arrived, of 78 when they left the workers",
        "pacing at 80/s with 2 processes: 94.0% of the rate used, at least 95% wanted",
        "pacing at 80/s with 2 processes: a window of 81 arrived, of 81 when they left the workers",
        "idle number with 1 processes: p99 31.0 ms, at most 30 wanted",
        "urgent past a campaign: p99 101.0 ms, at most 100 wanted",
        "isolation, first number hanging: p99 20.5 ms above that without trouble, at most 20 wanted",
        "throughput, answers after 150 ms: 0.69 of the engine alone, at least 0.7 wanted",
        "throughput, answers after 150 ms: 7.90 of stock arq, at least 8 wanted",
        "throughput, answers after 150 ms: the endpoint may be what limits; it took 1.10 times as much from "
        "two engines as from us, and used up to 0.40 of a core",
        "throughput, instant answers: 0.90 of BullMQ, at least 1 wanted",
        "throughput, instant answers: 1.80 times the processor time of the engine alone, at most 1.7 wanted",
        "scale: 1201 bytes a waiting message, at most 1200 wanted",
        "scale: 251 bytes a finished message, at most 250 wanted",
        "scale: an idle process uses 6.0% of a core, at most 5% wanted",
        "scale: a claim with 1000000 waiting on 1 numbers takes 1.50 times as long as with 1000 on 1, "
        "at most 1.25 wanted",
        "reload of 10000 numbers, rates: the event loop stood still for 26.1 ms of its own, at most 25 wanted",
        "b: 1.5 ms, at most 1 wanted",
        "c: 1.5 a second, at least 2 wanted",
    ]
    assert aims.missed({"pacing": [], "urgent": {"p99_ms": 100.0}}) == []

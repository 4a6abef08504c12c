"""How much one process delivers when no rate holds it back, beside arq as it comes, and the HTTP engine alone."""

import asyncio
import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any

from dispatcher.lanes.connection import connect
from tests.bench import stock_arq
from tests.bench.cloud import Arrival
from tests.bench.harness import LATENCY_MS, UNPACED_PER_S, Rig, rig, until
from tests.bench.processes import Child, Meter

Say = Callable[[str], None]
Row = dict[str, Any]

ARQ_IN_FLIGHT = (30, 100, 150)
RAW_IN_FLIGHT = (300, 1000)
_LIMIT_S = 180.0


async def measure(say: Say, *, count: int, arq_count: int, rounds: int, arq_in_flight: tuple[int, ...]) -> Row:
    """Rounds of all three take turns, so that noise meets each of them."""
    ours: list[Row] = []
    raw: dict[int, list[Row]] = {in_flight: [] for in_flight in RAW_IN_FLIGHT}
    arq: list[Row] = []
    for turn in range(max(rounds, len(arq_in_flight))):
        if turn < rounds:
            ours.append(_told(say, "dispatcher", await _dispatcher(count)))
            for in_flight, rows in raw.items():
                rows.append(_told(say, f"engine alone, {in_flight} in flight", await _raw(count, in_flight)))
        if turn < len(arq_in_flight):
            row = {"in_flight": arq_in_flight[turn], **await _arq(arq_count, arq_in_flight[turn])}
            arq.append(_told(say, f"stock arq, {row['in_flight']} in flight", row))
    engine = [{"in_flight": in_flight, **_middle(rows)} for in_flight, rows in raw.items()]
    best_engine = max(engine, key=lambda row: float(row["per_s"]))
    best_arq = max(arq, key=lambda row: float(row["per_s"]))
    middle = _middle(ours)
    return {
        "dispatcher": middle,
        "rounds_per_s": [round(row["per_s"]) for row in ours],
        "engine_alone": engine,
        "stock_arq": arq,
        "times_arq": middle["per_s"] / best_arq["per_s"],
        "share_of_engine": middle["per_s"] / best_engine["per_s"],
    }


def _told(say: Say, what: str, row: Row) -> Row:
    say(f"throughput, {what}: {row['per_s']:.0f}/s")
    return row


def _middle(rows: list[Row]) -> Row:
    """The round in the middle, by speed."""
    middle = median([row["per_s"] for row in rows]) if len(rows) % 2 else sorted(row["per_s"] for row in rows)[0]
    return next(row for row in rows if row["per_s"] == middle)


async def _dispatcher(count: int) -> Row:
    async with rig(rate=UNPACED_PER_S) as it:
        enqueued_s = await it.enqueue(count)
        before = await it.commands()
        await it.start(1)
        meter = it.meter()
        await until(lambda: _is_empty(it), _LIMIT_S, every_s=0.02)
        ended_ns, used, shares = time.monotonic_ns(), meter.seconds(), meter.shares()
        after = await it.commands()
        row = await _row(it, count, ended_ns)
        it.stop()
    return {
        **row,
        "enqueued_per_s": round(count / enqueued_s),
        "worker_us": _us(used, "worker 1", count),
        "redis_us": _us(used, "redis", count),
        "simulator_us": _us(used, "simulator", count),
        **_commands(before, after, count),
        **shares,
    }


async def _is_empty(it: Rig) -> bool:
    return not await it.waiting()


async def _raw(count: int, in_flight: int) -> Row:
    async with rig(rate=UNPACED_PER_S) as it:
        with Child(["raw", it.cloud.url, str(count), str(in_flight)], it.folder / "raw") as child:
            said = json.loads(await asyncio.to_thread(child.line))
        row = await _row(it, count, said["ended_ns"])
    return {**row, "worker_us": round(said["cpu_s"] / count * 1e6)}


async def _arq(count: int, in_flight: int) -> Row:
    async with rig(rate=UNPACED_PER_S) as it:
        await stock_arq.enqueue(it.server.url, count)
        redis = connect(it.server.url, timeout_s=10)
        before = await it.commands()
        with Child(["arq", it.server.url, it.cloud.url, str(in_flight)], it.folder / "arq") as child:
            child.line()
            meter = Meter({"arq": child.pid, "redis": it.server.pid})

            async def is_done() -> bool:
                child.check()
                return not await redis.zcard("arq:queue")

            await until(is_done, _LIMIT_S, every_s=0.02)
            ended_ns, used = time.monotonic_ns(), meter.seconds()
            after = await it.commands()
        await redis.aclose()
        row = await _row(it, count, ended_ns)
    return {
        **row,
        "worker_us": _us(used, "arq", count),
        "redis_us": _us(used, "redis", count),
        **_commands(before, after, count),
    }


async def _row(it: Rig, count: int, ended_ns: int) -> Row:
    """From the first arrival until the last message is done with, in Redis too; each was accepted once."""
    report, arrivals = await it.cloud.report(), await it.cloud.arrivals()
    if report["accepted_once"] != count or len(arrivals) != count:
        raise RuntimeError(f"{count} messages, but {report}")
    took_s = (ended_ns - arrivals[0].at_ns) / 1e9
    return {"messages": count, "seconds": took_s, "per_s": count / took_s, "most_in_flight": _most_open(arrivals)}


def _most_open(arrivals: list[Arrival]) -> int:
    """Most requests that the simulator had at once."""
    most, oldest = 0, 0
    for newest, one in enumerate(arrivals):
        while one.at_ns - arrivals[oldest].at_ns > LATENCY_MS * 1e6:
            oldest += 1
        most = max(most, newest - oldest + 1)
    return most


def _us(used: dict[str, float], name: str, count: int) -> int | None:
    """Processor time of a process for each message."""
    return round(used[name] / count * 1e6) if name in used else None


def _commands(before: dict[str, int], after: dict[str, int], count: int) -> Row:
    """What Redis ran for each message: scripts, and all commands, those inside scripts too."""
    ours = {name: calls - before.get(name, 0) for name, calls in after.items() if name not in {"info", "zcard"}}
    return {
        "scripts_per_message": round(ours.get("evalsha", 0) / count, 3),
        "commands_per_message": round(sum(ours.values()) / count, 1),
    }

"""Those who deliver messages as fast as they can, each on a server and an endpoint of its own: one row a run.

A run counts from the first arrival until the last message is done with, in Redis too where there is one, and only if
each message was accepted exactly once. Processor time counts from the moment a process that is ready is told to begin.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dispatcher.lab.processes import Process
from dispatcher.policy.bucket import room
from dispatcher.settings import Settings
from dispatcher.store.connection import connect
from tests.bench import bull, stock_arq
from tests.bench.harness import CELL, LATENCY_MS, NUMBER, UNPACED_PER_S, Rig, rig, until
from tests.bench.processes import Meter, start_child

Row = dict[str, Any]

_LIMIT_S = 180.0
_POLL_S = 0.01
_ENGINE_KEYS = ("left", "right")


def most_in_flight() -> int:
    """How many POSTs of a campaign our worker may have in flight for one unpaced number, by its default settings."""
    bulk: int = room(UNPACED_PER_S, most=Settings.model_fields["in_flight_per_number"].default).bulk
    return bulk


@dataclass(frozen=True, slots=True)
class Course:
    """What all meet: how many messages, and whether answers come at once (from the sink) or after 150 ms."""

    count: int
    is_instant: bool

    @asynccontextmanager
    async def rig(self) -> AsyncIterator[Rig]:
        async with rig(rate=UNPACED_PER_S, latency_ms=LATENCY_MS, is_cheap=self.is_instant) as it:
            yield it


async def dispatcher(course: Course) -> Row:
    """One worker process with default settings; a stop holds the backlog until the worker serves."""
    async with course.rig() as it:
        enqueued_s = await it.enqueue(course.count)
        await it.hold()
        await it.start(1)
        before, meter = await it.commands(), it.meter()
        await it.let_go()
        most = await _most_sending_until_done(it)
        ended_ns, used, shares = time.monotonic_ns(), meter.seconds(), meter.shares()
        after = await it.commands()
        row = await row_of(it, course.count, ended_ns)
        it.stop()
    return {
        **row,
        "in_flight": most_in_flight(),
        "most_claimed": most,
        "enqueued_per_s": round(course.count / enqueued_s),
        **_costs(used, course.count, worker="worker 1"),
        **_commands(before, after, course.count),
        **shares,
    }


async def _most_sending_until_done(it: Rig) -> int:
    """Wait until nothing waits or is claimed; the most that was seen between claim and settlement."""
    most: int = 0
    deadline = time.monotonic() + _LIMIT_S
    lanes = CELL.lanes(NUMBER)
    while time.monotonic() < deadline:
        async with it.redis.pipeline(transaction=True) as pipe:
            for name in (CELL.key("sending"), *lanes):
                pipe.zcard(name)
            sending, *waiting = await pipe.execute()
        most = max(most, int(sending))
        if not sending and not sum(waiting):
            return most
        await asyncio.sleep(_POLL_S)
    raise TimeoutError(f"not done in {_LIMIT_S:g} s")


async def engine(course: Course, in_flight: int, processes: int = 1) -> Row:
    """`Graph.post` in a loop: no queue, no rate, nothing written down; or several such processes, one `count` each."""
    async with course.rig() as it:
        with ExitStack() as stack:
            children = [
                stack.enter_context(
                    start_child(keys, it.folder, "raw", it.cloud.url, str(course.count), str(in_flight), keys)
                )
                for keys in _ENGINE_KEYS[:processes]
            ]
            for child in children:
                child.line()
            workers = {f"worker {i}": child.pid for i, child in enumerate(children, 1)}
            meter = Meter({**workers, "simulator": it.cloud.process.pid})
            for child in children:
                child.go()
            said = [json.loads(line) for line in await _lines(children)]
            used, shares = meter.seconds(), meter.shares()
        count = course.count * processes
        row = await row_of(it, count, max(each["ended_ns"] for each in said))
    worker_us = round(sum(each["cpu_s"] for each in said) / count * 1e6)
    return {**row, "in_flight": in_flight * processes, **_costs(used, count), "worker_us": worker_us, **shares}


async def bullmq(course: Course, in_flight: int, installed: Path) -> Row:
    """BullMQ with undici, one Worker process, its jobs queued beforehand."""
    async with course.rig() as it:
        await bull.enqueue(installed, it, course.count)
        with bull.worker(installed, it, course.count, in_flight) as child:
            child.line()
            before = await it.commands()
            meter = Meter({"worker 1": child.pid, "redis": it.server.pid, "simulator": it.cloud.process.pid})
            child.go()
            said = json.loads((await _lines([child]))[0])
            used, shares, after = meter.seconds(), meter.shares(), await it.commands()
        row = await row_of(it, course.count, said["ended_ns"])
    return {
        **row,
        "in_flight": in_flight,
        **_costs(used, course.count),
        "worker_us": round(said["cpu_s"] / course.count * 1e6),
        **_commands(before, after, course.count),
        **shares,
    }


async def arq(course: Course, in_flight: int) -> Row:
    """Stock arq, see `stock_arq`."""
    async with course.rig() as it:
        await stock_arq.enqueue(it.server.url, course.count)
        redis = connect(it.server.url, CELL, timeout_s=10)
        with start_child("arq", it.folder, "arq", it.server.url, it.cloud.url, str(in_flight)) as child:
            child.line()
            before = await it.commands()
            meter = Meter({"worker 1": child.pid, "redis": it.server.pid, "simulator": it.cloud.process.pid})
            child.go()

            async def is_done() -> bool:
                child.check()
                return not await redis.zcard("arq:queue")

            await until(is_done, _LIMIT_S, every_s=_POLL_S)
            ended_ns, used, shares = time.monotonic_ns(), meter.seconds(), meter.shares()
            after = await it.commands()
        await redis.aclose()
        row = await row_of(it, course.count, ended_ns)
    return {
        **row,
        "in_flight": in_flight,
        **_costs(used, course.count, worker="worker 1"),
        **_commands(before, after, course.count),
        **shares,
    }


async def _lines(children: Sequence[Process]) -> list[str]:
    """What each says next. Only one waits at a time, as each keeps what it has said."""
    return [await asyncio.to_thread(child.line) for child in children]


async def row_of(it: Rig, count: int, ended_ns: int) -> Row:
    """How fast it was, from the first arrival to `ended_ns`.

    Raises:
        RuntimeError: not every message was accepted, and that exactly once.
    """
    tally = await it.cloud.tally()
    if tally.posts != count or tally.once != count:
        raise RuntimeError(f"{count} messages, but {tally}")
    took_s = (ended_ns - tally.first_ns) / 1e9
    return {"messages": count, "seconds": took_s, "per_s": count / took_s, "most_open": tally.most_open}


def _costs(used: dict[str, float], count: int, worker: str = "") -> Row:
    """Processor time of each process for each message, in µs; nothing where the system does not tell."""
    names = {"worker_us": worker, "redis_us": "redis", "sink_us": "simulator"}
    return {figure: round(used[name] / count * 1e6) for figure, name in names.items() if name in used}


def _commands(before: dict[str, int], after: dict[str, int], count: int) -> Row:
    """What Redis ran for each message: scripts, and all commands, those inside scripts too."""
    ours = {name: calls - before.get(name, 0) for name, calls in after.items() if name not in {"info", "zcard"}}
    return {
        "scripts_per_message": round((ours.get("evalsha", 0) + ours.get("eval", 0)) / count, 3),
        "commands_per_message": round(sum(ours.values()) / count, 1),
    }

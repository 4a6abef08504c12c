"""Processes that are asked to end, or are not asked."""

import asyncio
import itertools
import os
import signal
import time
from pathlib import Path

import pytest

from dispatcher.lab.deployment import start_worker
from dispatcher.lab.processes import Process
from dispatcher.simulator import Simulator
from tests.cell import OTP, Cell, eventually
from tests.cell import cell as open_cell
from tests.crash.workers import SHORT, settings_of, workers
from tests.servers import OwnServer

pytestmark = pytest.mark.crash


async def in_flight(cell: Cell, count: int) -> None:
    async def enough() -> bool:
        return len(cell.posts()) >= count

    await eventually(enough, 15)


async def nothing_waits(cell: Cell, within_s: float) -> None:
    """Until every message is settled or uncertain."""

    async def none() -> bool:
        counts = [await cell.redis.zcard(f"{cell.prefix}{name}") for name in (f"lane:{OTP}:2", "sending")]
        return counts == [0, 0]

    await eventually(none, within_s)


async def says(log: Path, event: str) -> None:
    async def said() -> bool:
        return event in log.read_text()

    await eventually(said, 10)


async def states(cell: Cell, keys: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key in keys:
        found.setdefault((await cell.record(key)).state, []).append(key)
    return found


async def test_sigterm_in_mid_flight_loses_nothing_and_makes_nothing_uncertain(cell: Cell) -> None:
    keys = [f"m{i}" for i in range(200)]
    await cell.send_all(keys, priority="bulk")
    async with workers(cell, 1) as (worker,):
        await in_flight(cell, 40)
        asked_at = time.monotonic()
        worker.send(signal.SIGTERM)
        assert await worker.ended(within_s=10) == 0
        assert time.monotonic() - asked_at < cell.settings.stop_limit_s
    found = await states(cell, keys)
    assert set(found) == {"accepted", "queued"}
    # every answer was heard, and what was claimed and not posted is back at no cost
    assert len(found["accepted"]) == len(cell.posts())
    assert {(await cell.record(key)).attempts for key in found["queued"]} == {0}
    assert await cell.redis.zcard(f"{cell.prefix}sending") == 0


async def test_a_number_given_back_by_sigterm_is_served_by_another_at_once(cell: Cell) -> None:
    keys = [f"m{i}" for i in range(300)]
    await cell.send_all(keys, priority="bulk")
    async with workers(cell, 2) as started:
        await in_flight(cell, 40)
        owner = await owner_of(cell, started)
        owner.send(signal.SIGTERM)
        assert await owner.ended(within_s=10) == 0
        await cell.all_become(keys, "accepted")
    arrived_ms = [float(str(post["arrived_ms"])) for post in cell.posts()]
    assert max(after - before for before, after in itertools.pairwise(arrived_ms)) < 1000
    assert len(cell.posts()) == 300


async def owner_of(cell: Cell, started: list[Process]) -> Process:
    async def owner() -> Process | None:
        name = await cell.redis.hget(f"{cell.prefix}gate:{OTP}", "owner")
        return next((w for w in started if name and f"-{w.pid}-" in name.decode()), None)

    return await eventually(owner)


async def test_sigkill_loses_nothing_and_doubles_nothing(cell: Cell) -> None:
    keys = [f"m{i}" for i in range(300)]
    await cell.send_all(keys, priority="bulk")
    async with workers(cell, 2) as started:
        await in_flight(cell, 60)
        killed = await owner_of(cell, started)
        killed.send(signal.SIGKILL)
        killed_at = time.monotonic()
        posted = len(cell.posts())
        await killed.ended(within_s=5)
        await in_flight(cell, posted + 21)
        assert time.monotonic() - killed_at < 10
        await nothing_waits(cell, within_s=20)
    found = await states(cell, keys)
    # what was in flight when the process died is uncertain, visible, and not posted again
    assert set(found) == {"accepted", "uncertain"}
    assert 1 <= len(found["uncertain"]) <= 40
    report = cell.simulator.ledger.report()
    assert report["accepted_twice"]["count"] == 0  # type: ignore[index]
    assert len(cell.posts()) == len({post["key"] for post in cell.posts()})
    assert report["over_limit"] == 0


async def test_a_worker_stopped_beyond_its_leases_and_continued_doubles_nothing(cell: Cell) -> None:
    keys = [f"m{i}" for i in range(400)]
    await cell.send_all(keys, priority="bulk")
    async with workers(cell, 2) as started:
        await in_flight(cell, 60)
        owner = await owner_of(cell, started)
        owner.send(signal.SIGSTOP)
        await asyncio.sleep(6)
        owner.send(signal.SIGCONT)
        await nothing_waits(cell, within_s=30)
    report = cell.simulator.ledger.report()
    assert report["accepted_twice"]["count"] == 0  # type: ignore[index]
    assert report["overlapping"]["count"] == 0  # type: ignore[index]
    # what the engine had in hand as it was stopped leaves later than it should, and nothing can call it back
    assert report["over_limit"] <= 3  # type: ignore[operator]


async def test_a_parent_passes_sigterm_on_and_waits(cell: Cell) -> None:
    keys = [f"m{i}" for i in range(200)]
    await cell.send_all(keys, priority="bulk")
    async with workers(cell, 1, "--processes", "2") as (parent,):
        await in_flight(cell, 40)
        parent.send(signal.SIGTERM)
        assert await parent.ended(within_s=10) == 0
    assert set(await states(cell, keys)) == {"accepted", "queued"}


async def test_a_parent_starts_a_dead_worker_again(cell: Cell) -> None:
    async with workers(cell, 1, "--processes", "2") as (parent,):
        before = await pids(cell, 2)
        os.kill(before[0], signal.SIGKILL)
        after = await pids(cell, 3)
        assert set(before) < set(after)
        parent.send(signal.SIGTERM)
        assert await parent.ended(within_s=10) == 0


async def test_workers_end_cleanly_when_their_parent_is_killed(cell: Cell) -> None:
    async with workers(cell, 1, "--processes", "2") as (parent,):
        children = await pids(cell, 2)
        parent.send(signal.SIGKILL)
        await parent.ended(within_s=5)

        async def gone() -> bool:
            return not any(is_alive(pid) for pid in children)

        await eventually(gone, 10)


async def pids(cell: Cell, count: int) -> list[int]:
    """The processes that have said a word, first ones first."""

    async def found() -> list[int] | None:
        names = await cell.redis.zrange(f"{cell.prefix}processes", 0, -1)
        return [int(name.decode().split("-")[-2]) for name in names] if len(names) >= count else None

    return await eventually(found, 10)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_worker_that_never_reached_redis_ends_at_once(cell: Cell, own_server: OwnServer) -> None:
    server = own_server()
    await asyncio.to_thread(server.kill)
    settings = settings_of(cell) | {"REDIS_URL": server.url}
    worker = start_worker("worker", cell.numbers_file.parent, settings)
    try:
        await says(worker.log, "redis.lost")
        worker.send(signal.SIGTERM)
        assert await worker.ended(within_s=3) == 0
    finally:
        worker.kill()


async def test_a_worker_that_lost_redis_and_has_nothing_to_say_ends_at_once(
    simulator: Simulator, own_server: OwnServer, tmp_path: Path
) -> None:
    server = own_server()
    async with open_cell(server.url, tmp_path, simulator, **SHORT) as opened, workers(opened, 1) as (worker,):
        await asyncio.to_thread(server.kill)
        await says(worker.log, "redis.lost")
        worker.send(signal.SIGTERM)
        assert await worker.ended(within_s=5) == 0

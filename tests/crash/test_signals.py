"""Processes that are asked to end, or are not asked."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from dispatcher.lab.deployment import start_worker
from dispatcher.lab.processes import Process
from dispatcher.simulator import Simulator
from dispatcher.store.embedded import Server
from tests.cell import OTP, RATE, Cell, eventually, posted
from tests.cell import cell as open_cell
from tests.crash.workers import PATIENT, SHORT, settings_of, workers
from tests.proxy import Holder
from tests.servers import OwnServer

pytestmark = pytest.mark.crash


async def nothing_waits(cell: Cell) -> None:
    """Until every message is settled or uncertain."""

    async def none() -> bool:
        counts = [await cell.redis.zcard(f"{cell.prefix}{name}") for name in (f"lane:{OTP}:2", "sending")]
        return counts == [0, 0]

    await eventually(none)


async def says(log: Path, event: str) -> None:
    async def said() -> bool:
        return event in log.read_text()

    await eventually(said)


async def sending(cell: Cell) -> set[str]:
    return {key.decode() for key in await cell.redis.zrange(f"{cell.prefix}sending", 0, -1)}


async def now_us(cell: Cell) -> int:
    seconds, micros = await cell.redis.time()
    return int(seconds) * 1_000_000 + int(micros)


async def states(cell: Cell, keys: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key in keys:
        found.setdefault((await cell.record(key)).state, []).append(key)
    return found


async def test_sigterm_in_mid_flight_loses_nothing_and_makes_nothing_uncertain(cell: Cell) -> None:
    keys = [f"m{i}" for i in range(200)]
    await cell.send_all(keys, priority="bulk")
    async with workers(cell, 1) as (worker,):
        await posted(cell, 40)
        worker.send(signal.SIGTERM)
        assert await worker.ended() == 0  # it would be 1 after the limit of a stop
    found = await states(cell, keys)
    assert set(found) == {"accepted", "queued"}
    # every answer was heard, and what was claimed and not posted is back at no cost
    assert len(found["accepted"]) == len(cell.posts())
    assert {(await cell.record(key)).attempts for key in found["queued"]} == {0}
    assert await sending(cell) == set()


async def test_a_number_given_back_by_sigterm_is_served_by_another_at_once(cell: Cell) -> None:
    keys = [f"m{i}" for i in range(150)]
    await cell.send_all(keys, priority="bulk")
    async with workers(cell, 2) as started:
        await posted(cell, 40)
        owner = await owner_of(cell, started)
        owner.send(signal.SIGTERM)
        assert await owner.ended() == 0
        # nobody has to wait for the end of its lease
        assert f"-{owner.pid}-" not in (await cell.redis.hget(f"{cell.prefix}gate:{OTP}", "owner") or b"").decode()
        await cell.all_become(keys, "accepted")
    assert len(cell.posts()) == 150


async def owner_of(cell: Cell, started: list[Process]) -> Process:
    async def owner() -> Process | None:
        name = await cell.redis.hget(f"{cell.prefix}gate:{OTP}", "owner")
        return next((w for w in started if name and f"-{w.pid}-" in name.decode()), None)

    return await eventually(owner)


async def test_sigkill_loses_nothing_and_doubles_nothing(held_cell: Cell, holder: Holder) -> None:
    cell, keys = held_cell, [f"m{i}" for i in range(150)]
    await cell.send_all(keys, priority="bulk")
    holder.open.set()
    async with workers(cell, 2) as started:
        await posted(cell, 40)
        killed = await owner_of(cell, started)
        (other,) = (worker for worker in started if worker is not killed)
        holder.open.clear()
        await posted(cell, len(cell.posts()) + 10)
        other.send(signal.SIGSTOP)  # until we have looked
        killed.send(signal.SIGKILL)
        await killed.ended()
        left, now = await sending(cell), await now_us(cell)
        # another takes the number when its lease ends, and what was in flight is uncertain when its leases end: now
        assert await cell.redis.zscore(f"{cell.prefix}due", OTP) - now <= cell.settings.number_lease_s * 1_000_000
        await cell.redis.zadd(f"{cell.prefix}due", {OTP: now})
        await cell.redis.zadd(f"{cell.prefix}sending", dict.fromkeys(left, now))
        holder.open.set()
        other.send(signal.SIGCONT)
        await nothing_waits(cell)
    found = await states(cell, keys)
    # what was in flight when the process died is uncertain, visible, and not posted again
    assert set(found) == {"accepted", "uncertain"}
    assert set(found["uncertain"]) == left
    assert len(left) >= 10
    assert len(cell.posts()) == len({post["key"] for post in cell.posts()})
    assert cell.simulator.ledger.report()["accepted_twice"] == {"count": 0, "keys": []}
    await cell.were_claimed_at(keys, RATE)


async def test_a_worker_stopped_beyond_its_leases_and_continued_doubles_nothing(
    server: Server, simulator: Simulator, tmp_path: Path
) -> None:
    async with open_cell(server.url, tmp_path, simulator, **SHORT, number_lease_s=2.0) as cell:
        await cell.send_all([f"m{i}" for i in range(300)], priority="bulk")
        async with workers(cell, 2) as started:
            await posted(cell, 60)
            owner = await owner_of(cell, started)
            owner.send(signal.SIGSTOP)
            held = await sending(cell)

            async def are_over() -> bool:
                return not held & await sending(cell) and await owner_of(cell, started) is not owner

            await eventually(are_over)
            owner.send(signal.SIGCONT)
            await nothing_waits(cell)
    report = cell.simulator.ledger.report()
    assert report["accepted_twice"] == {"count": 0, "keys": []}
    assert report["overlapping"] == {"count": 0, "keys": []}


async def test_a_parent_passes_sigterm_on_and_waits(cell: Cell) -> None:
    keys = [f"m{i}" for i in range(200)]
    await cell.send_all(keys, priority="bulk")
    async with workers(cell, 1, "--processes", "2") as (parent,):
        await posted(cell, 40)
        parent.send(signal.SIGTERM)
        assert await parent.ended() == 0
    assert set(await states(cell, keys)) == {"accepted", "queued"}


async def test_a_parent_starts_a_dead_worker_again(cell: Cell) -> None:
    async with workers(cell, 1, "--processes", "2") as (parent,):
        before = await pids(cell, 2)
        os.kill(before[0], signal.SIGKILL)
        after = await pids(cell, 3)
        assert set(before) < set(after)
        parent.send(signal.SIGTERM)
        assert await parent.ended() == 0


async def test_workers_end_cleanly_when_their_parent_is_killed(cell: Cell) -> None:
    async with workers(cell, 1, "--processes", "2") as (parent,):
        children = await pids(cell, 2)
        parent.send(signal.SIGKILL)
        await parent.ended()

        async def gone() -> bool:
            return not any(is_alive(pid) for pid in children)

        await eventually(gone)


async def pids(cell: Cell, count: int) -> list[int]:
    """The processes that have said a word, first ones first."""

    async def found() -> list[int] | None:
        names = await cell.redis.zrange(f"{cell.prefix}processes", 0, -1)
        return [int(name.decode().split("-")[-2]) for name in names] if len(names) >= count else None

    return await eventually(found)


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
        assert await worker.ended() == 0
    finally:
        worker.kill()


async def test_a_worker_that_lost_redis_and_has_nothing_to_say_ends_at_once(
    simulator: Simulator, own_server: OwnServer, tmp_path: Path
) -> None:
    server = own_server()
    async with open_cell(server.url, tmp_path, simulator, **PATIENT) as opened, workers(opened, 1) as (worker,):
        await asyncio.to_thread(server.kill)
        await says(worker.log, "redis.lost")
        worker.send(signal.SIGTERM)
        assert await worker.ended() == 0

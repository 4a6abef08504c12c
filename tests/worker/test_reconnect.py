"""Redis goes away, comes back, or comes back as it was a while ago; the worker lives on and posts nothing twice."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import cast

from dispatcher.simulator import Simulator
from dispatcher.worker.log import WorkerLog
from dispatcher.worker.reconnect import Reconnect
from dispatcher.worker.run import App
from tests.cell import Cell, cell, eventually, posted
from tests.servers import OwnServer
from tests.worker.conftest import SHORT

DURABLE = {"appendonly": "yes", "appendfsync": "always"}


async def test_a_server_restarted_in_mid_flight_loses_and_doubles_nothing(
    own_server: OwnServer, simulator: Simulator, tmp_path: Path
) -> None:
    server = own_server(options=DURABLE)
    simulator.set_latency(300)
    async with cell(server.url, tmp_path, simulator, **SHORT) as opened:
        keys = [f"m{i}" for i in range(100)]
        await opened.send_all(keys, priority="bulk")
        app = await opened.work()
        await posted(opened, 30)
        await asyncio.to_thread(server.kill)
        await eventually(lambda: is_away(app))
        await asyncio.to_thread(server.start)
        await opened.all_become(keys, "accepted")
        assert opened.simulator.ledger.report()["accepted_once"] == 100
        assert len(opened.posts()) == 100


async def test_a_server_that_hangs_is_waited_for(own_server: OwnServer, simulator: Simulator, tmp_path: Path) -> None:
    server = own_server()
    async with cell(server.url, tmp_path, simulator, **{**SHORT, "redis_timeout_s": 0.2}) as opened:
        app = await opened.work()
        os.kill(server.pid, signal.SIGSTOP)
        await eventually(lambda: is_away(app))
        os.kill(server.pid, signal.SIGCONT)
        await opened.send("after")
        await opened.becomes("after", "accepted")


async def test_connections_that_are_cut_end_nothing(cell: Cell) -> None:
    cell.simulator.set_latency(100)
    keys = [f"m{i}" for i in range(100)]
    await cell.send_all(keys, priority="bulk")
    await cell.work()
    for count in range(1, 6):
        await posted(cell, 12 * count)
        await cell.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await cell.all_become(keys, "accepted")
    assert len(cell.posts()) == 100


async def test_scripts_flushed_in_mid_flight_are_loaded_again(cell: Cell) -> None:
    keys = [f"m{i}" for i in range(60)]
    await cell.send_all(keys, priority="bulk")
    await cell.work()
    for count in range(1, 6):
        await posted(cell, 8 * count)
        await cell.redis.script_flush()
    await cell.all_become(keys, "accepted")
    assert len(cell.posts()) == 60


async def test_a_server_that_went_back_in_time_hands_nothing_out_that_a_living_worker_knows(cell: Cell) -> None:
    keys = [f"m{i}" for i in range(40)]
    await cell.send_all(keys, priority="bulk")
    before = await snapshot(cell)
    cell.simulator.set_latency(400)
    await cell.work()
    await posted(cell, 20)  # some in flight, none settled; then some settled
    await restore(cell, before)
    await cell.all_become(keys, "accepted")
    report = cell.simulator.ledger.report()
    assert (report["requests"], report["accepted_once"]) == (40, 40)


async def test_outcomes_of_the_last_minute_are_told_again(cell: Cell) -> None:
    keys = [f"m{i}" for i in range(20)]
    await cell.send_all(keys, priority="bulk")
    before = await snapshot(cell)
    await cell.work()
    await cell.all_become(keys, "accepted")
    wamids = [(await cell.record(key)).wamid for key in keys]
    await restore(cell, before)
    await cell.all_become(keys, "accepted")
    assert [(await cell.record(key)).wamid for key in keys] == wamids
    assert len(cell.posts()) == 20


async def test_an_acceptance_of_a_message_that_was_lost_keeps_its_key_used(cell: Cell) -> None:
    cell.simulator.set_latency(300)
    await cell.work()
    before = await snapshot(cell)
    await cell.send("lost")
    await posted(cell, 1)
    await restore(cell, before)
    await cell.becomes("lost", "accepted")
    ticket = await cell.client.send(cell.message("lost"))
    assert (ticket.duplicate, ticket.state) == (True, "accepted")
    assert len(cell.posts("lost")) == 1


class Broken:
    """A log that hears nothing without raising."""

    def redis_lost(self) -> None:
        raise RuntimeError("redis_lost")

    def task_failed(self, task: str, exc: Exception) -> None:
        raise RuntimeError(task) from exc

    def redis_regained(self) -> None:
        raise RuntimeError("regained")


async def test_an_outage_ends_even_if_whoever_hears_of_it_raises() -> None:
    tries: list[int] = []

    async def come_back() -> None:
        tries.append(1)

    reconnect = Reconnect(come_back, cast(WorkerLog, Broken()))
    for _ in range(2):
        with suppress(RuntimeError):
            reconnect.begin()
        async with asyncio.timeout(10):
            await reconnect.ready.wait()
        await reconnect.aclose()
    assert (len(tries), reconnect.ready.is_set()) == (2, True)


async def is_away(app: App) -> bool:
    return not app.connection.reconnect.ready.is_set()


async def snapshot(cell: Cell) -> dict[bytes, bytes]:
    """Everything of the cell, as a server remembers it that loses what comes after."""
    return {key: await cell.redis.dump(key) async for key in cell.redis.scan_iter(f"{cell.prefix}*", count=1000)}


async def restore(cell: Cell, before: dict[bytes, bytes]) -> None:
    """Put the cell back to the snapshot and cut all connections, as a failover to a lagging replica does."""
    async with cell.redis.pipeline(transaction=True) as pipe:
        async for key in cell.redis.scan_iter(f"{cell.prefix}*", count=1000):
            pipe.delete(key)
        for key, value in before.items():
            pipe.restore(key, 0, value, replace=True)
        pipe.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await pipe.execute()

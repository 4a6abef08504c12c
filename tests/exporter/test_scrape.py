"""A scrape: bounded, shared, never hanging, and of many numbers only the worst."""

import asyncio
import os
import signal
import time

from redis.asyncio import Redis

from dispatcher.embedded import Server
from dispatcher.exporter.snapshots import FRESH_S
from dispatcher.lanes.registry import Published
from dispatcher.lanes.survey import NUMBERS_A_CALL as SURVEYED_A_CALL
from tests.cell import eventually
from tests.exporter.conftest import Exporter, Scrape, exporting, scraped
from tests.lanes.cell import OWNER, SECOND_US, TOKEN, WABA, Cell
from tests.servers import OwnServer

PER_NUMBER = {
    "queue_waiting": 3, "queue_oldest_runnable_seconds": 3, "queue_estimated_wait_seconds": 3,
    "number_rate_per_second": 2, "number_gate": 1, "number_info": 1,
}  # fmt: skip
ONLY_THESE = {"dispatcher_exporter_up", "dispatcher_exporter_scrape_seconds", "dispatcher_build_info"}


async def register(cell: Cell, count: int) -> list[str]:
    numbers = [Published(str(1000 + n), f"n{n}", 80.0, WABA) for n in range(count)]
    await cell.registry.publish(numbers)
    await cell.serving.serve(OWNER, {number.id: TOKEN for number in numbers})
    return [number.id for number in numbers]


async def fill(cell: Cell, number: str, count: int, age_s: float) -> None:
    """Only places: nobody reads the messages."""
    at = await cell.now() - round(age_s * SECOND_US)
    await cell.redis.zadd(cell.keys.lane(number, 2), {f"{number}-{n}": at for n in range(count)})


async def test_of_600_numbers_the_worst_50_are_shown_and_all_are_in_the_sums(cell: Cell) -> None:
    began = await cell.now()
    numbers = await register(cell, 600)
    for n in range(40):
        await fill(cell, numbers[n], 1, age_s=100 + n)
    for n in range(40, 80):  # due only later, so the count decides
        await fill(cell, numbers[n], n, age_s=-3600)
    found = await scraped(cell.url)
    for name, series in PER_NUMBER.items():
        assert len(found.figures[f"dispatcher_{name}"]) == 50 * series, name
    assert set(found.by("number_info", "number")) == set(numbers[:40]) | set(numbers[70:80])
    assert found.value("numbers") == 600
    assert found.value("cell_waiting", lane="bulk") == 40 + sum(range(40, 80))
    assert found.value("messages", state="waiting") == 40 + sum(range(40, 80))
    oldest_s = found.value("cell_oldest_runnable_seconds", lane="bulk") or 0
    assert 139 <= oldest_s <= 139 + (await cell.now() - began) / SECOND_US
    assert found.by("cell_gates", "state") == {"open": 600, "blocked": 0, "half_open": 0, "stopped": 0}


async def test_of_500_numbers_all_are_shown(cell: Cell) -> None:
    await register(cell, 500)
    found = await scraped(cell.url)
    assert len(found.figures["dispatcher_queue_waiting"]) == 1500


async def test_10000_numbers_are_looked_at_in_steps(cell: Cell) -> None:
    """How long it takes, and holds Redis up, is measured by the benchmark: `edges`."""
    numbers = await register(cell, 10_000)
    for number in numbers[:100]:
        await fill(cell, number, 10, age_s=1)
    await cell.redis.config_resetstat()
    found = await scraped(cell.url)
    assert found.value("messages", state="waiting") == 1000
    evals = (await cell.redis.info("commandstats"))["cmdstat_evalsha"]
    assert evals["calls"] >= 10_000 / SURVEYED_A_CALL


async def test_a_look_takes_as_many_commands_however_many_messages_wait(cell: Cell) -> None:
    async def commands() -> dict[str, int]:
        await scraped(cell.url)
        await cell.redis.config_resetstat()
        await scraped(cell.url)
        stats = await cell.redis.info("commandstats")
        return {name: row["calls"] for name, row in stats.items()}

    [number] = await register(cell, 1)
    await fill(cell, number, 1000, age_s=1)
    few = await commands()
    for at in range(0, 100_000, 10_000):
        await cell.redis.zadd(cell.keys.lane(number, 2), {f"k{at + n}": at + n for n in range(10_000)})
    assert await commands() == few


async def test_scrapes_of_one_second_share_a_look(cell: Cell) -> None:
    async with exporting(cell.url) as exporter:
        began_s = time.monotonic()
        found = await asyncio.gather(*(exporter.scrape() for _ in range(20)))
        looks = len({each.value("exporter_scrape_seconds") for each in found})
        assert looks <= 1 + (time.monotonic() - began_s) / FRESH_S


async def becomes(exporter: Exporter, up: int) -> Scrape:
    """Scrape until a look says so: the last one counts for a second."""

    async def is_so() -> Scrape | None:
        found = await exporter.scrape()
        return found if found.value("exporter_up") == up else None

    return await eventually(is_so)


async def test_redis_away_is_said_and_nothing_else_and_then_it_is_back(own_server: OwnServer) -> None:
    server = own_server()
    async with exporting(server.url) as exporter:
        await becomes(exporter, 1)
        server.kill()
        assert (await becomes(exporter, 0)).names == ONLY_THESE
        server.restart()
        await becomes(exporter, 1)


async def test_a_redis_that_hangs_does_not_hang_a_scrape(own_server: OwnServer) -> None:
    server = own_server()
    async with exporting(server.url, timeout_s=0.3, redis_timeout_s=0.5) as exporter:
        os.kill(server.pid, signal.SIGSTOP)
        found = await asyncio.gather(*(exporter.scrape() for _ in range(3)))
        os.kill(server.pid, signal.SIGCONT)
        assert [each.value("exporter_up") for each in found] == [0, 0, 0]
        await becomes(exporter, 1)


async def test_a_server_that_refuses_us_is_away(own_server: OwnServer) -> None:
    server: Server = own_server()
    async with Redis.from_url(server.url, protocol=2) as redis:
        await redis.config_set("requirepass", "wall-paper")
    found = await scraped(server.url)
    assert (found.value("exporter_up"), found.names) == (0, ONLY_THESE)

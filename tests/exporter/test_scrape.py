"""A scrape: bounded, shared, never hanging, and of many numbers only the worst."""

import asyncio
import os
import signal
import time

from redis.asyncio import Redis
from structlog.testing import capture_logs

from dispatcher.exporter.log import ExporterLog
from dispatcher.exporter.look import FRESH_S, LookCache
from dispatcher.store import numbers, schema, work
from dispatcher.store.cell import NUMBERS_A_CALL
from dispatcher.store.connection import connect_sync
from dispatcher.store.embedded import Server
from dispatcher.store.pipeline import SyncPipeline
from tests.cell import eventually
from tests.exporter.conftest import Exporter, Scrape, exporting, scraped
from tests.servers import PATIENCE_S, OwnServer
from tests.store.cell import OWNER, SECOND_US, TOKEN, WABA, Cell, published

PER_NUMBER = {
    "queue_waiting": 3, "queue_oldest_runnable_seconds": 3, "queue_estimated_wait_seconds": 3,
    "number_rate_per_second": 2, "number_gate": 1, "number_info": 1,
}  # fmt: skip
ONLY_THESE = {"dispatcher_exporter_up", "dispatcher_exporter_scrape_seconds", "dispatcher_build_info"}


async def register(cell: Cell, count: int) -> list[str]:
    given = [published(str(1000 + n), f"n{n}", 80.0, WABA) for n in range(count)]
    await cell.run(numbers.publish, given)
    await cell.run(work.announce, OWNER, {number.id: TOKEN for number in given})
    return [number.id for number in given]


async def fill(cell: Cell, number: str, count: int, age_s: float) -> None:
    """Only places: nobody reads the messages."""
    at = await cell.now() - round(age_s * SECOND_US)
    await cell.redis.zadd(cell.cell.lanes(number)[2], {f"{number}-{n}": at for n in range(count)})


async def test_of_600_numbers_the_worst_50_are_shown_and_all_are_in_the_sums(cell: Cell) -> None:
    began = await cell.now()
    known = await register(cell, 600)
    for n in range(40):
        await fill(cell, known[n], 1, age_s=100 + n)
    for n in range(40, 80):  # due only later, so the count decides
        await fill(cell, known[n], n, age_s=-3600)
    found = await scraped(cell.url)
    for name, series in PER_NUMBER.items():
        assert len(found.figures[f"dispatcher_{name}"]) == 50 * series, name
    assert set(found.by("number_info", "number")) == set(known[:40]) | set(known[70:80])
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
    known = await register(cell, 10_000)
    for number in known[:100]:
        await fill(cell, number, 10, age_s=1)
    await cell.redis.config_resetstat()
    found = await scraped(cell.url)
    assert found.value("messages", state="waiting") == 1000
    evals = (await cell.redis.info("commandstats"))["cmdstat_evalsha"]
    assert evals["calls"] >= 10_000 / NUMBERS_A_CALL


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
        await cell.redis.zadd(cell.cell.lanes(number)[2], {f"k{at + n}": at + n for n in range(10_000)})
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
    async with exporting(server.url, fresh_s=0) as exporter:
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


async def test_what_a_rolled_back_redis_counts_again_is_no_new_beginning(cell: Cell) -> None:
    """Prometheus would take a counter that fell for one that began at 0, and add all of it once more."""
    counts = cell.key("counts")
    await cell.redis.hset(counts, mapping={"settled|accepted|none": 1000, "enqueued|bulk": 1200})
    with connect_sync(cell.url, cell.cell, timeout_s=PATIENCE_S) as redis:
        looks = LookCache(SyncPipeline(redis), cell.cell, ExporterLog("exporter"), fresh_s=0)

        async def happened() -> list[int]:
            seen = (await asyncio.to_thread(looks.latest)).cell
            assert seen is not None
            return [seen.happened[name] for name in (("settled", "accepted", "none"), ("enqueued", "bulk"))]

        assert await happened() == [1000, 1200]
        await cell.redis.hincrby(counts, "settled|accepted|none", -10)  # its last second is gone
        assert await happened() == [1000, 1200]
        await cell.redis.hincrby(counts, "settled|accepted|none", 4)
        assert await happened() == [1004, 1200]
        await cell.redis.delete(counts)
        assert await happened() == [1004, 1200]
        await cell.redis.hset(counts, "enqueued|bulk", 1)
        assert await happened() == [1004, 1201]


async def test_an_exporter_that_ends_during_a_look_ends_it_and_logs_nothing() -> None:
    """Scrapes run in threads of their own, and nobody waits for them."""
    is_asked = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        is_asked.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(hang, "127.0.0.1", 0) as server:
        cell = schema.Cell()
        redis = connect_sync(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", cell, timeout_s=PATIENCE_S)
        looks = LookCache(SyncPipeline(redis), cell, ExporterLog("exporter"))
        with capture_logs() as said:
            look = asyncio.create_task(asyncio.to_thread(looks.latest))
            await is_asked.wait()
            looks.close()
            redis.close()
            assert (await asyncio.wait_for(look, PATIENCE_S)).cell is None
        assert said == []

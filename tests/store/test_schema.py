"""The schema of a cell: written by who serves it, read with each connection, and refused where only a later release knows it."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from dispatcher import Dispatcher, errors
from dispatcher.observe.metrics import Metrics
from dispatcher.settings import NumbersFile, Settings
from dispatcher.store import schema, webhooks, work
from dispatcher.store.connection import connect
from dispatcher.store.embedded import Server
from dispatcher.store.pipeline import Pipeline
from dispatcher.store.schema import SCHEMA, SCHEMA_KNOWN
from dispatcher.store.scripts import plain
from dispatcher.worker import run
from tests.api.conftest import running
from tests.cell import write_numbers
from tests.exporter.conftest import scraped
from tests.store.cell import OWNER, Cell, message

KEY = schema.Cell().key("schema")
LATER = str(SCHEMA_KNOWN + 1)
ADVICE = f"is in schema {LATER}, and this release knows none after {SCHEMA_KNOWN}: upgrade this process"


async def test_a_worker_and_a_door_write_the_schema_of_a_new_cell_and_a_producer_does_not(cell: Cell) -> None:
    await cell.queue("k1")
    assert await cell.redis.get(KEY) is None
    await cell.run(work.tend, OWNER)
    assert await cell.redis.get(KEY) == str(SCHEMA).encode()
    await cell.redis.delete(KEY)
    await cell.run(webhooks.beat, "door-1", gap=True, forwards=())
    assert await cell.redis.get(KEY) == str(SCHEMA).encode()


@pytest.mark.parametrize("given", ["0", "", "garbage", "1.5", "9" * 5000, b"\xff"])
async def test_an_earlier_schema_or_none_that_can_be_read_is_used_and_becomes_ours(
    cell: Cell, server: Server, given: Any
) -> None:
    await cell.redis.set(KEY, given)
    redis = connect(server.url, cell.cell, timeout_s=5)
    assert await redis.ping()
    await cell.run(work.tend, OWNER)
    assert await cell.redis.get(KEY) == str(SCHEMA).encode()
    await redis.aclose()


async def test_a_schema_of_another_type_is_none(cell: Cell, server: Server) -> None:
    await cell.redis.rpush(KEY, "garbage")
    redis = connect(server.url, cell.cell, timeout_s=5)
    assert await redis.ping()
    await cell.run(webhooks.beat, "door-1", gap=True, forwards=())
    assert await cell.redis.get(KEY) == str(SCHEMA).encode()
    await redis.aclose()


async def test_a_later_schema_is_never_lowered(cell: Cell) -> None:
    await cell.redis.ping()  # connected before
    await cell.redis.set(KEY, LATER)
    await cell.run(work.tend, OWNER)
    await cell.run(webhooks.beat, "door-1", gap=True, forwards=())
    assert await cell.redis.get(KEY) == LATER.encode()


async def test_a_producer_is_refused_with_what_to_do_and_queues_nothing(cell: Cell, server: Server) -> None:
    await cell.redis.set(KEY, LATER)
    before = await cell.redis.keys("*")
    async with Dispatcher.connect(server.url) as client:
        with pytest.raises(errors.UnknownSchema, match=ADVICE) as caught:
            await client.send({**message("k1").model_dump(exclude_none=True, mode="json")})
        assert caught.value.key == "k1"
        with pytest.raises(errors.UnknownSchema):
            await anext(client.events("crm"))
    assert await cell.redis.keys("*") == before
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


async def test_another_cell_of_the_same_server_is_not_concerned(cell: Cell, server: Server) -> None:
    await cell.redis.set(KEY, LATER)
    redis = connect(server.url, schema.Cell("other"), timeout_s=5)
    assert await redis.ping()
    await redis.aclose()


async def test_worker_door_and_exporter_do_not_start(server: Server, redis: Redis, tmp_path: Path) -> None:
    await redis.set(KEY, LATER)
    numbers_file, _ = write_numbers(tmp_path)
    settings = Settings(redis_url=server.url, numbers_file=numbers_file, metrics_port=0)
    numbers = NumbersFile.load(numbers_file)
    async with run.assembled(settings, numbers, Metrics(CollectorRegistry())) as worker:
        with pytest.raises(errors.SettingsError, match=ADVICE):
            await worker.run()
    with pytest.raises(errors.SettingsError, match=ADVICE):
        async with running(server.url, cell="main"):
            pass
    with pytest.raises(errors.SettingsError, match=ADVICE):
        await scraped(server.url)
    assert await redis.keys("*") == [KEY.encode()]


async def test_a_process_that_was_left_behind_stops_where_its_connection_ends(cell: Cell, server: Server) -> None:
    redis = connect(server.url, cell.cell, timeout_s=5, connections=1)
    pipeline, ping = Pipeline(redis), plain("PING", parse=bool)
    await pipeline.run(ping)
    await cell.redis.set(KEY, LATER)
    await pipeline.run(ping)
    await redis.connection_pool.disconnect()
    for _ in range(2):
        with pytest.raises(errors.UnknownSchema, match=ADVICE):
            await pipeline.run(ping)
    await cell.redis.set(KEY, SCHEMA)
    assert await pipeline.run(ping)
    await redis.aclose()

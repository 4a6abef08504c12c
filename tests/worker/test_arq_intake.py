"""Any arq producer may put messages on Redis; nothing that it writes can hurt the worker or vanish."""

import asyncio
import json
import pickle
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import cast

import pytest
from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.constants import job_key_prefix
from prometheus_client import CollectorRegistry

from dispatcher.message.message import Ticket
from dispatcher.message.priority import DEAD_KEPT_S
from dispatcher.observe.metrics import Metrics
from dispatcher.settings import NumbersFile
from dispatcher.store.embedded import Server
from dispatcher.worker.arq_intake import Intake
from dispatcher.worker.log import WorkerLog
from dispatcher.worker.run import assembled
from tests.cell import Cell, eventually


@pytest.fixture
async def producer(server: Server, cell: Cell) -> AsyncIterator[ArqRedis]:
    """An arq producer that knows nothing of this package but the queue's name and JSON."""
    pool = await create_pool(
        RedisSettings.from_dsn(server.url),
        job_serializer=lambda job: json.dumps(job).encode(),
        job_deserializer=json.loads,
        default_queue_name=f"dispatcher:{cell.settings.cell}:send",
    )
    yield pool
    await pool.aclose(close_connection_pool=True)


async def refused(cell: Cell, count: int) -> list[dict[str, object]]:
    async def listed() -> list[dict[str, object]] | None:
        rows = [json.loads(row) for row in await cell.redis.lrange(f"{cell.prefix}refused", 0, -1)]
        return rows if len(rows) >= count else None

    return await eventually(listed)


async def test_a_job_of_any_arq_producer_is_delivered(cell: Cell, producer: ArqRedis) -> None:
    await cell.work()
    await producer.enqueue_job("send", cell.message("from-arq"))
    await cell.becomes("from-arq", "accepted")


async def test_fields_may_be_given_as_keywords(cell: Cell, producer: ArqRedis) -> None:
    await cell.work()
    await producer.enqueue_job("send", **cell.message("keywords"))
    await cell.becomes("keywords", "accepted")


async def test_a_message_without_a_key_takes_the_id_of_its_job(cell: Cell, producer: ArqRedis) -> None:
    await cell.work()
    message = cell.message("")
    del message["key"]
    await producer.enqueue_job("send", message, _job_id="job-7")
    await cell.becomes("job-7", "accepted")


async def test_the_same_job_twice_is_posted_once(cell: Cell, producer: ArqRedis) -> None:
    await cell.work()
    for job in ("one", "two"):
        await producer.enqueue_job("send", cell.message("same"), _job_id=job)
    await producer.enqueue_job("send", cell.message("last"))
    await cell.becomes("last", "accepted")
    await cell.becomes("same", "accepted")
    assert len(cell.posts("same")) == 1


class Explosive:
    """What unpickling would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('unpickled')",))


GARBAGE = {
    "pickle": pickle.dumps({"t": 1, "f": "send", "a": (Explosive(),), "k": {}, "et": 1}),
    "garbage": b"\xff\x00 garbage",
    "list": b"[1,2]",
    "number": b"7",
    "no-function": b'{"t":1,"a":[],"k":{},"et":1}',
    "bad-arguments": b'{"t":1,"f":"send","a":5,"k":{},"et":1}',
    "bad-keywords": b'{"t":1,"f":"send","a":[],"k":[],"et":1}',
    "bad-try": b'{"t":"x","f":"send","a":[{}],"k":{},"et":1}',
    "bad-time": b'{"t":1,"f":"send","a":[{}],"k":{},"et":1e300}',
    "endless": b'{"t":1,"f":"send","a":[{}],"k":{},"et":NaN}',
    "misnamed": b'{"t":1,"f":"sned","a":[{}],"k":{},"et":1}',
    "private": b'{"t":1,"f":"refuse","a":["a","b"],"k":{},"et":1}',
    "no-message": b'{"t":1,"f":"send","a":[],"k":{},"et":1}',
    "two-messages": b'{"t":1,"f":"send","a":[{},{}],"k":{},"et":1}',
    "no-fields": b'{"t":1,"f":"send","a":[{}],"k":{},"et":1}',
    "a-word": b'{"t":1,"f":"send","a":["hello"],"k":{},"et":1}',
    "nul-name": b'{"t":1,"f":"send","a":[],"k":{"ctx":1},"et":1}',
    "deep": b'{"t":1,"f":"send","a":[' + b"[" * 5000 + b"]" * 5000 + b'],"k":{},"et":1}',
    "oversized": b'{"t":1,"f":"send","a":["' + b"x" * 256_001 + b'"],"k":{},"et":1}',
}


async def test_what_cannot_be_read_is_listed_and_the_next_job_runs(cell: Cell, producer: ArqRedis) -> None:
    queue = producer.default_queue_name
    for name, raw in GARBAGE.items():
        await producer.set(f"{job_key_prefix}{cell.settings.cell}-{name}", raw)
        await producer.zadd(queue, {f"{cell.settings.cell}-{name}": 1})
    await cell.work()
    await producer.enqueue_job("send", cell.message("fine"))
    await cell.becomes("fine", "accepted")
    rows = await refused(cell, len(GARBAGE))
    assert {str(row["job"]).removeprefix(f"{cell.settings.cell}-") for row in rows} == set(GARBAGE)
    by_name = {str(row["job"]).removeprefix(f"{cell.settings.cell}-"): str(row["reason"]) for row in rows}
    assert by_name["pickle"] == "unreadable: pickled: give arq a JSON serializer"
    assert by_name["misnamed"] == "misnamed: no function 'sned', only send"
    assert by_name["oversized"].startswith("oversized: 2560")
    assert await producer.zcard(queue) == 0


async def test_ids_and_jobs_that_arq_trips_over_are_put_aside(cell: Cell, producer: ArqRedis) -> None:
    queue = producer.default_queue_name
    await cell.redis.zadd(queue, {b"\xff\xfe": 1, f"{cell.settings.cell}-list": 2})
    await cell.redis.lpush(f"{job_key_prefix}{cell.settings.cell}-list", "x")
    await cell.work()
    await producer.enqueue_job("send", cell.message("fine"))
    await cell.becomes("fine", "accepted")
    rows = await refused(cell, 2)
    assert {str(row["job"]) for row in rows} == {repr(b"\xff\xfe"), repr(f"{cell.settings.cell}-list".encode())}


async def test_a_refused_message_says_why_and_what_was_given(cell: Cell, producer: ArqRedis) -> None:
    await cell.work()
    await producer.enqueue_job("send", cell.message("wrong", number="oto"), _job_id="wrong-job")
    (row,) = await refused(cell, 1)
    assert row["job"] == "wrong-job"
    assert row["reason"] == f"refused: number: oto is not a number of cell {cell.settings.cell}, did you mean otp?"
    assert json.loads(str(row["given"]))["key"] == "wrong"


class Restarts:
    """A log of restarts, and the clock by which they are judged."""

    def __init__(self, ran_s: list[float]) -> None:
        self.after_s: list[float] = []
        self.all = asyncio.Event()
        self._ran_s = ran_s
        self._now_s = 0.0
        self._looks = 0

    def clock(self) -> float:
        """Look at the clock: at the start of each run, and at its end."""
        self._looks += 1
        if self._looks % 2 == 0:
            self._now_s += self._ran_s[min(self._looks // 2, len(self._ran_s)) - 1]
        return self._now_s

    def intake_restarted(self, _: BaseException | None, after_s: float) -> None:
        self.after_s.append(after_s)
        if len(self.after_s) == len(self._ran_s):
            self.all.set()

    def job_queued(self) -> None:
        raise AssertionError("nothing is queued here")

    def job_refused(self, job: str, reason: str, detail: str) -> None:
        raise AssertionError("nothing is refused here")


async def refuse_all(_: object, __: str) -> Ticket:
    raise AssertionError("nothing is sent here")


async def test_an_arq_worker_that_ran_well_is_started_again_soon(server: Server, cell: Cell) -> None:
    queue = f"dispatcher:{cell.settings.cell}:send"
    await cell.redis.set(queue, "no queue")  # ends every worker at its first look
    restarts = Restarts([0, 0, 9, 60, 0])
    intake = Intake(server.url, 0.5, queue, "refused", "process-1", restarts.clock)
    running = asyncio.create_task(intake.run(refuse_all, cast(WorkerLog, restarts)))
    async with asyncio.timeout(20):
        await restarts.all.wait()
        intake.stop()
        await running
    assert restarts.after_s == [0.1, 0.5, 1.0, 0.1, 0.5]


async def test_a_broken_queue_of_jobs_keeps_nobody_from_the_chores(cell: Cell) -> None:
    await cell.redis.set(f"dispatcher:{cell.settings.cell}:send", "no queue")
    long_ago_us = round((time.time() - 2 * DEAD_KEPT_S) * 1_000_000)
    dead = f"{cell.prefix}dead"

    async def is_cleared() -> bool:
        return not await cell.redis.exists(dead)

    numbers = NumbersFile.load(cell.numbers_file)
    async with assembled(cell.settings, numbers, Metrics(CollectorRegistry())) as app:
        app = replace(app, chores_every_s=0.05)
        running = asyncio.create_task(app.run())
        for _ in range(3):
            await cell.redis.zadd(dead, {"long gone": long_ago_us})
            await eventually(is_cleared)
        await cell.redis.set(f"{cell.prefix}events", "no stream")  # one chore's trouble is not another's
        await cell.redis.zadd(dead, {"long gone": long_ago_us})
        await eventually(is_cleared)
        app.stop()
        await asyncio.wait_for(running, 10)

"""Stored webhooks are worked off: by several, again after a failure, and never one at the cost of another."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from structlog.testing import capture_logs

from dispatcher import Dispatcher, errors
from dispatcher.api.journal import ApiJournal
from dispatcher.api.run import Timeouts
from dispatcher.api.webhook_worker import WebhookWorker
from dispatcher.meta.optout import Words
from dispatcher.observe import logs
from dispatcher.observe.metrics import ApiMetrics
from dispatcher.store import cell as cells
from dispatcher.store import schema, webhooks
from dispatcher.store.embedded import Server
from dispatcher.store.pipeline import Pipeline
from dispatcher.store.scripts import Command
from dispatcher.store.webhooks import GROUP, StoredWebhook
from tests.api.conftest import Running, message, running
from tests.api.meta import NUMBER, WABA, status, text, webhook
from tests.api.test_forwarding import Target
from tests.cell import eventually
from tests.store.cell import publish, published

KEY = schema.Cell().key("webhooks")


async def test_receipts_inbound_messages_wishes_and_the_rest_are_applied(api: Running, client: Dispatcher) -> None:
    await client.send(message("k1"))
    await client.send(message("k2"))
    failed = status("k2", "failed", errors=[{"code": 131050, "title": "User opted out"}])
    await api.post(webhook([status("k1"), status("k1", "delivered"), status(""), failed]))
    await api.post(webhook(messages=[text("Stop!"), text("hello", "wamid.in2")]))
    await api.post(b'{"object":"page"}')
    await api.works_off_all()
    record = await client.status("k1")
    assert record is not None
    assert record.state == "delivered"
    suppressed = await api.redis.hgetall(f"{api.prefix}suppressed:{WABA}:marketing")
    assert list(suppressed) == [b"+15551234567"]
    assert await api.redis.xlen(f"{api.prefix}inbound") == 2
    assert await api.redis.llen(f"{api.prefix}unreadable") == 1
    kinds = {"receipt": 3, "foreign": 1, "inbound": 2, "preference": 2, "notice": 0, "unreadable": 1}
    assert {kind: api.value("dispatcher_webhook_updates_total", kind=kind) for kind in kinds} == kinds


async def test_a_second_acceptance_is_counted(api: Running, client: Dispatcher) -> None:
    await client.send(message("k1"))
    await api.post(webhook([status("k1"), status("k1", id="wamid.other")]))
    await api.works_off_all()
    counts = await Pipeline(api.redis).run(cells.happened(schema.Cell(api.settings.cell)))
    assert counts["accepted_again",] == 1


async def test_what_the_client_hands_in_is_worked_off(api: Running, client: Dispatcher) -> None:
    await client.send(message("k1"))
    fields = {"from": "receive", "body": webhook([status("k1")])}
    await api.redis.xadd(f"{api.prefix}webhooks", fields)
    await api.works_off_all()
    record = await client.status("k1")
    assert record is not None
    assert record.state == "sent"


async def test_two_processes_share_the_work(server: Server, redis: Redis) -> None:
    async with running(server.url, cell="shared") as one, running(server.url, cell="shared") as other:
        count = 0

        def shares() -> list[float]:
            return [api.value("dispatcher_webhook_updates_total", kind="foreign") for api in (one, other)]

        async def both_work() -> bool:
            nonlocal count
            for _ in range(30):
                count += 1
                await redis.xadd(f"{one.prefix}webhooks", {"body": webhook([status("")] * 20)})
            return min(shares()) > 0

        async def all_are_counted() -> bool:
            return sum(shares()) == count * 20

        await eventually(both_work)
        await one.works_off_all()
        await eventually(all_are_counted)


async def test_what_a_dead_process_held_is_taken_over(server: Server, redis: Redis) -> None:
    cell = schema.Cell("left")
    await redis.xadd(cell.key("webhooks"), {"body": webhook([status("")])})
    assert len(await read_as("dead", redis, cell)) == 1
    async with running(server.url, cell="left", timeouts=Timeouts(take_over_s=0.3)) as api:
        await api.works_off_all()
        assert api.value("dispatcher_webhook_updates_total", kind="foreign") == 1


async def read_as(process: str, redis: Redis, cell: schema.Cell, idle_s: float | None = None) -> list[StoredWebhook]:
    """What a process takes that ends before it works it off."""
    pipeline, stream = Pipeline(redis), cell.key("webhooks")
    await pipeline.run(webhooks.create_group(cell, stream))
    return await pipeline.run(webhooks.read(cell, stream, process, 10, idle_s))


async def test_a_redis_that_forgot_everything_is_begun_anew(api: Running) -> None:
    await api.post(webhook([status("")]))
    await api.works_off_all()
    await api.redis.flushall()
    await api.post(webhook([status("")]))
    await api.works_off_all()


# bugs


class Fragile(Pipeline):
    """Fails where receipts are applied with a bad one among them, so `often`."""

    def __init__(self, redis: Redis, failure: Exception, often: int = 1_000) -> None:
        super().__init__(redis)
        self.failure = failure
        self.often = often
        self.seen: list[str] = []

    async def run(self, command: Command[Any]) -> Any:
        if command.script is None or command.script.name != "receipt":
            return await super().run(command)
        if self.often and "bad" in command.words:
            self.often -= 1
            raise self.failure
        self.seen += [key for key in ("k1", "k2", "bad") if key in command.words]
        return await super().run(command)


def a_worker(redis: Redis, failure: Exception, **options: Any) -> tuple[WebhookWorker, Fragile, ApiMetrics]:
    fragile, metrics = Fragile(redis, failure, **options), ApiMetrics(CollectorRegistry())
    journal = ApiJournal(metrics, "p1")
    made = WebhookWorker(fragile, schema.Cell(), "p1", Words.default(), journal, take_over_after_s=0.1)
    return made, fragile, metrics


async def worked(redis: Redis, made: WebhookWorker, keys: Sequence[str], left: int = 0) -> None:
    for key in keys:
        await redis.xadd(KEY, {"body": webhook([status(key)])})
    running = asyncio.create_task(made.run())

    async def is_done() -> bool:
        return int(await redis.xlen(KEY)) == left

    try:
        await eventually(is_done)
    finally:
        made.stop()
        await running


async def test_a_body_that_makes_us_fail_is_kept_aside_after_three_deliveries(redis: Redis) -> None:
    made, fragile, metrics = a_worker(redis, ZeroDivisionError())
    await worked(redis, made, ["k1", "bad", "k2"])
    assert sorted(fragile.seen) == ["k1", "k2"]
    (row,) = await redis.lrange(schema.Cell().key("unreadable"), 0, -1)  # type: ignore[misc]
    assert json.loads(row)["reason"] == "internal error: ZeroDivisionError"
    assert '"d1:1:bad"' in json.loads(row)["raw"]
    assert await redis.hexists(schema.Cell().key("door"), "gap")  # type: ignore[misc]
    assert metrics.registry.get_sample_value("dispatcher_webhook_updates_total", {"kind": "unreadable"}) == 1
    # once together with others, and three times alone
    assert fragile.often == 1_000 - 4


async def test_a_failure_that_passes_costs_nothing(redis: Redis) -> None:
    made, fragile, _ = a_worker(redis, ZeroDivisionError(), often=2)
    await worked(redis, made, ["bad", "k1"])
    assert sorted(fragile.seen) == ["bad", "k1"]
    assert await redis.llen(schema.Cell().key("unreadable")) == 0  # type: ignore[misc]


@pytest.mark.parametrize("failure", [errors.QueueUnavailable("away"), errors.QueueFull("full")])
async def test_trouble_of_redis_is_waited_out(redis: Redis, failure: errors.QueueUnavailable) -> None:
    made, fragile, _ = a_worker(redis, failure, often=3)
    await worked(redis, made, ["bad", "k1"])
    assert sorted(fragile.seen) == ["bad", "k1"]
    assert await redis.llen(schema.Cell().key("unreadable")) == 0  # type: ignore[misc]


async def test_an_outage_is_logged_once_however_often_a_body_is_tried(redis: Redis) -> None:
    """A body that is tried alone shows no Redis that is back before Redis has answered."""
    structlog.reset_defaults()
    made, fragile, _ = a_worker(redis, errors.QueueUnavailable("away"), often=4)
    with capture_logs() as events:
        await worked(redis, made, ["bad"])
    assert fragile.often == 0
    assert [event["event"] for event in events] == [logs.REDIS_LOST, logs.REDIS_REGAINED]


async def test_broken_data_in_redis_keeps_its_body_where_it_is(redis: Redis) -> None:
    made, fragile, _ = a_worker(redis, errors.QueueBroken("WRONGTYPE"), often=8)
    await worked(redis, made, ["k1", "bad", "k2"])
    assert sorted(fragile.seen) == ["bad", "k1", "k2"]
    assert await redis.llen(schema.Cell().key("unreadable")) == 0  # type: ignore[misc]


async def test_a_body_that_no_process_came_back_from_is_kept_aside_untried(redis: Redis) -> None:
    made, fragile, _ = a_worker(redis, ZeroDivisionError())
    await redis.xadd(KEY, {"body": webhook([status("bad")])})
    for _ in range(11):
        await read_as("dead", redis, schema.Cell(), 0)
    await worked(redis, made, ["k1"])
    assert fragile.often == 1_000
    assert await redis.llen(schema.Cell().key("unreadable")) == 1  # type: ignore[misc]


async def test_nothing_is_left_pending(api: Running) -> None:
    for _ in range(50):
        await api.post(webhook([status("")]))
    await api.works_off_all()
    assert (await api.redis.xpending(f"{api.prefix}webhooks", GROUP))["pending"] == 0


# observers


class BrokenMetric:
    """A metric of every kind that fails whenever something is to be written down."""

    def labels(self, *_: object) -> "BrokenMetric":
        return self

    def inc(self, *_: object) -> None:
        raise RuntimeError("metric")

    set = observe = inc


def broken_log(*_: object) -> dict[str, object]:
    raise RuntimeError("log")


@pytest.mark.parametrize("what", ["metrics", "logs"])
async def test_observers_that_raise_stop_nothing(server: Server, redis: Redis, what: str) -> None:
    metrics = ApiMetrics(CollectorRegistry())
    if what == "metrics":
        for name in vars(metrics).keys() - {"registry", "observer_errors"}:
            setattr(metrics, name, BrokenMetric())
    else:
        structlog.configure(processors=[broken_log], wrapper_class=structlog.make_filtering_bound_logger(0))
    cell, keys = "hurt", [f"k{i}" for i in range(20)]
    await publish(redis, cell, published(NUMBER, "otp", 80.0, WABA))
    async with (
        Dispatcher.connect(server.url, cell=cell) as client,
        Target().open() as target,
        running(server.url, cell=cell, metrics=metrics, webhook_forward_urls=target.url) as api,
    ):
        async for ticket in client.send_many(message(key) for key in keys):
            assert ticket.error is None
        bodies = [webhook([status(key)]) for key in keys]
        assert [await api.post(body) for body in [b"{", *bodies]] == [200] * 21
        assert await api.post(b"{}", {}) == 401
        await api.works_off_all()
        await target.has(*bodies)
        found = [await client.status(key) for key in keys]
        assert {record.state if record else None for record in found} == {"sent"}
        # `{` alone: no body was taken for one that makes us fail
        assert await redis.llen(f"{api.prefix}unreadable") == 1  # type: ignore[misc]
        failed = metrics.registry.get_sample_value
        method = "answered" if what == "metrics" else "gap_recorded"
        assert (failed("dispatcher_observer_errors_total", {"method": method}) or 0) >= 1
    assert len(target.bodies) == 21

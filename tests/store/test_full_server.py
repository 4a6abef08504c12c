"""A full server: nothing new comes in, and all that is in still gets out."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis import exceptions

from dispatcher import Dispatcher, errors
from dispatcher.message.message import Priority
from dispatcher.meta.webhook import Inbound, Notice, Preference, Unreadable
from dispatcher.store import numbers, queue, receipts, schema, stops, webhooks, work
from dispatcher.store.connection import connect
from dispatcher.store.health import fullness
from tests.servers import PATIENCE_S, OwnServer, old_server_path
from tests.store.cell import HOUR_US, NUMBER, OTHER, OWNER, TOKEN, WABA, Cell, keys_of, message, published, text


@pytest.fixture(params=["suite", "redis-6.2"])
async def cell(request: pytest.FixtureRequest, own_server: OwnServer) -> AsyncIterator[Cell]:
    """A cell on a server of the test's own, with messages in all states and not full yet."""
    server = own_server(old_server_path() if request.param == "redis-6.2" else None)
    redis = connect(server.url, schema.Cell(), timeout_s=PATIENCE_S)
    cell = Cell(redis, schema.Cell())  # whose scripts are loaded when the server is full, and the client runs
    cell.url = server.url
    await cell.run(numbers.publish, [published(NUMBER, "otp-us", 80, WABA)])
    await cell.queue("sent", "retried", "rejected", "unsure", "lapsing", "in-flight", "snoozed", "released")
    cell.handed_out = await cell.claim_all()
    await cell.queue("parked", campaign="spring")
    await cell.stop("campaign:spring")
    await cell.own()
    await cell.claim()
    await cell.queue("k1", "k2", "cancelled", "expiring")
    await cell.queue("other", number=OTHER)
    yield cell
    await cell.pipeline.idle()
    await redis.aclose()


async def fill(redis: Any, beyond: bool) -> None:
    """Fill the server with junk to the last byte; `beyond` leaves it above its limit, as a lowered limit would."""
    await redis.config_set("maxmemory", int((await redis.info("memory"))["used_memory"]) + 3_000_000)
    junk, size = 0, 10_000  # larger ones would leave room behind in the connection's buffer
    while size > 1:
        junk += 1
        try:
            await redis.set(f"junk{junk}", "x" * size)
        except exceptions.ResponseError:
            size //= 4
    # what clients' buffers hold comes and goes: a limit a little lower stays reached
    limit = 1_000_000 if beyond else int((await redis.info("memory"))["used_memory"]) - 50_000
    await redis.config_set("maxmemory", limit)
    with pytest.raises(exceptions.ResponseError):
        await redis.set("more", "x")


@pytest.mark.parametrize("beyond", [False, True], ids=["full", "beyond"])
async def test_everything_that_is_in_gets_out_of_a_full_server(cell: Cell, beyond: bool) -> None:
    await cell.end_ownership()
    claimed = {entry.key: entry for entry in cell.handed_out}
    await cell.end_lease("lapsing")
    await cell.set_gate(rate=1000)
    await fill(cell.redis, beyond)

    # workers come and go
    await cell.run(numbers.publish, [published(OTHER, "news", 80, WABA)])
    assert (await cell.run(numbers.find, "news")).id == OTHER
    await cell.run(work.announce, OWNER, dict.fromkeys([NUMBER, OTHER], TOKEN))
    assert sorted((await cell.run(work.take, OWNER))[1]) == [NUMBER, OTHER]
    tended = await cell.run(work.tend, OWNER)
    await cell.run(work.decide)
    assert (tended.uncertain, tended.unknown) == (1, False)

    # what was claimed is settled
    async def settled(name: str, outcome: str, value: Any = "", **fields: Any) -> str:
        return await cell.settle(claimed[name], outcome, value, **fields)

    assert await settled("sent", "accepted", "wamid.1", gate="open") == "accepted"
    assert await settled("sent", "accepted", "wamid.2") == "duplicate"
    assert await settled("retried", "retry", HOUR_US) == "queued"
    assert await settled("snoozed", "snooze", HOUR_US) == "queued"
    assert await settled("rejected", "reject", error="131026 no") == "dead"
    assert await settled("unsure", "uncertain", gate="doubt") == "uncertain"
    assert await settled("released", "release") == "queued"
    assert await settled("in-flight", "in_flight", HOUR_US) == ""

    # what waits is claimed
    assert keys_of((await cell.claim()).messages) == ["released", "k1", "k2", "cancelled", "expiring"]
    assert keys_of((await cell.claim(OTHER)).messages) == ["other"]
    assert (await cell.claim(OTHER)).state == "lost"
    await cell.run(work.wake, [NUMBER, OTHER])
    assert await cell.run(work.release, OWNER, [NUMBER, OTHER]) == 0
    assert sorted((await cell.run(work.take, OWNER))[1]) == [NUMBER, OTHER]
    assert await cell.run(work.release, OWNER, [NUMBER, OTHER]) == 2

    # people intervene
    assert await cell.run(stops.lift, "campaign:spring", [NUMBER]) is True
    assert await cell.sets_of("parked") == {f"lane:{NUMBER}:1", "expiry"}
    await cell.stop("all", "cancel")
    assert NUMBER in (await cell.run(work.take, OWNER))[1]
    assert (await cell.claim()).cancelled == 1
    assert await cell.run(queue.cancel, "retried") == ("cancelled", "queued")
    assert await cell.run(queue.cancel, "unsure") == ("marked", "uncertain")
    assert (await cell.run(queue.look, "sent")) is not None


@pytest.mark.parametrize("beyond", [False, True], ids=["full", "beyond"])
async def test_a_full_server_queues_nothing_not_even_half_a_message(cell: Cell, beyond: bool) -> None:
    await fill(cell.redis, beyond)
    before = sorted(await cell.redis.keys("dispatch*"))
    lanes = await cell.lane()
    with pytest.raises(errors.QueueFull, match=r"^Redis is full: "):
        await cell.enqueue(message("new1"), message("k1"), message("new2", callback_data="x"))
    with pytest.raises(errors.QueueFull):
        await cell.enqueue(message("k1"), message("new1"))
    assert sorted(await cell.redis.keys("dispatch*")) == before
    assert await cell.lane() == lanes


async def test_a_full_server_still_recognises_what_it_has(cell: Cell) -> None:
    await fill(cell.redis, beyond=False)
    [found] = await cell.enqueue(message("k1"))
    assert (found.word, found.state) == ("duplicate", "queued")


async def test_the_client_of_a_full_server_hears_so_with_the_key(cell: Cell) -> None:
    await fill(cell.redis, beyond=False)
    async with Dispatcher.connect(cell.url) as client:
        with pytest.raises(errors.QueueFull) as caught:
            await client.send(
                {"number": NUMBER, "to": "+15551234567", "content": text(), "key": "new", "priority": "urgent"}
            )
        assert caught.value.key == "new"
        messages = [{"number": NUMBER, "to": "+15551234567", "content": text(), "priority": "urgent"}] * 3
        tickets = [ticket async for ticket in client.send_many(messages)]
    assert [type(ticket.error) for ticket in tickets] == [errors.QueueFull] * 3


@pytest.mark.parametrize(
    ("share", "full_for"),
    [
        (0.70, set()),
        (0.80, {Priority.BULK}),
        (0.95, {Priority.BULK, Priority.NORMAL}),
    ],
)  # fmt: skip
async def test_a_server_that_fills_up_refuses_campaigns_first_and_codes_last(
    cell: Cell, share: float, full_for: set[Priority]
) -> None:
    used = int((await cell.redis.info("memory"))["used_memory"])
    await cell.redis.config_set("maxmemory", round(used / share))
    async with Dispatcher.connect(cell.url) as client:
        for priority in Priority:
            given = {"number": NUMBER, "to": "+15551234567", "content": text(), "priority": priority, "key": priority}
            if priority in full_for:
                with pytest.raises(errors.QueueFull, match=f"^Redis is too full for {priority} messages"):
                    await client.send(given)
            else:
                assert (await client.send(given)).state == "queued"
        # many at once are refused one by one
        given = {"number": NUMBER, "to": "+15551234567", "content": text()}
        many = [given | {"priority": priority, "key": f"many-{priority}"} for priority in Priority]
        tickets = [ticket async for ticket in client.send_many(many)]
    assert {priority for priority, ticket in zip(Priority, tickets, strict=True) if ticket.error} == full_for


async def test_a_server_without_a_limit_is_never_full(cell: Cell) -> None:
    assert await cell.pipeline.run(fullness()) == 0
    async with Dispatcher.connect(cell.url) as client:
        for priority in Priority:
            given = {"number": NUMBER, "to": "+15551234567", "content": text(), "priority": priority, "key": priority}
            assert (await client.send(given)).state == "queued"


@pytest.mark.parametrize("beyond", [False, True], ids=["full", "beyond"])
async def test_what_webhooks_bring_is_worked_off_in_a_full_server(cell: Cell, beyond: bool) -> None:
    claimed = {entry.key: entry for entry in cell.handed_out}
    await cell.settle(claimed["sent"], "accepted", "wamid.1")
    await cell.settle(claimed["released"], "accepted", "wamid.2")
    await cell.settle(claimed["unsure"], "uncertain")
    now = await cell.now()
    since = now - 60_000_000
    await cell.redis.hset(cell.key("msg:unsure"), mapping={"since": since, "claimed": since - 1_000_000})
    await cell.redis.zadd(cell.key("uncertain"), {"unsure": now})
    await cell.redis.hset(cell.key("door"), "gap", 1)
    await cell.redis.zadd(cell.key("doors"), {"door-1": now})
    await cell.run(webhooks.create_group, cell.key("webhooks"))
    await cell.redis.hset(cell.key(f"witness:{NUMBER}"), "", now)
    await fill(cell.redis, beyond)

    assert await cell.receipt("sent", "delivered") == "delivered"
    assert await cell.receipt("released", "failed", wamid="wamid.2", code=131000) == "queued"
    assert await cell.receipt("lapsing") == "sent"
    assert await cell.receipt("unknown") == "foreign"
    assert (await cell.run(work.decide)).absent == 1
    assert await cell.state("unsure") == "queued"
    person = ("+15551234567", NUMBER, WABA)
    stop = Preference(*person, category="marketing", stops=True, at_s=1, reason="STOP")
    assert await cell.run(receipts.prefer, [stop]) == 1
    assert await cell.run(receipts.inbound, [Inbound("wamid.in", *person, 1, "text", "hello", "{}")]) == 1
    assert await cell.run(receipts.notice, [Notice("account_update", WABA, 1, "{}")]) == 1
    assert await cell.run(receipts.keep_unreadable, [Unreadable("no JSON", "x", is_receipt=True)]) == 1

"""What a message costs: memory while it waits and once it is settled, and time to claim it from a long lane."""

from typing import Any

import pytest
from redis.asyncio import Redis

from dispatcher.store import queue, stops, work
from dispatcher.store.work import TENDED_A_CALL
from tests.servers import OwnServer, old_server_path
from tests.store.cell import NUMBER, OTHER, SECOND_US, Cell, template

WAMID = "wamid.HBgLMTU1NTEyMzQ1NjcVAgARGBI5QTNDQTVCM0Q0Q0Q2RTY3RTcA"
LABELS: dict[str, Any] = {
    "campaign": "spring-sale-2026", "category": "marketing", "content": template("order_shipped_with_tracking_v2"),
}  # fmt: skip
COMPACT = {b"listpack", b"ziplist"}


@pytest.fixture(params=["suite", "redis-6.2"])
async def grown(request: pytest.FixtureRequest, own_server: OwnServer) -> Any:
    server = own_server(old_server_path() if request.param == "redis-6.2" else None)
    async with Redis.from_url(server.url, protocol=2) as redis:
        yield Cell(redis)


def key(n: int) -> str:
    return f"order-{440_000 + n}-shipped"


async def used(redis: Any) -> int:
    return int((await redis.info("memory"))["used_memory_dataset"])


async def with_body_of(cell: Cell, size: int, name: str, **fields: Any) -> None:
    """Queue a message whose body has `size` bytes."""
    content = template("order_shipped_with_tracking_v2")
    empty = 260  # what surrounds it
    filler = {"type": "text", "text": "x" * (size - empty)}
    content["template"]["components"] = [{"type": "body", "parameters": [filler]}]
    await cell.queue(name, **{**LABELS, "content": content, **fields})


async def test_a_waiting_message_of_400_bytes_takes_at_most_1200(grown: Cell) -> None:
    for n in range(50):
        await with_body_of(grown, 400, f"warm-{n}", number=OTHER)
    before = await used(grown.redis)
    for n in range(1000):
        await with_body_of(grown, 400, key(n))
    body = await grown.redis.strlen(grown.key("body:" + key(1)))
    assert 380 <= body <= 420
    assert (await used(grown.redis) - before) / 1000 <= 1200


@pytest.mark.parametrize(
    # the allocator's steps: a record that was settled later has a digit or two more
    ("labels", "most"), [({}, 250), ({"content": template("order_shipped")}, 290), (LABELS, 300)],
    ids=["text", "template", "campaign"],
)  # fmt: skip
async def test_a_finished_record_takes_about_250_bytes(grown: Cell, labels: dict[str, Any], most: int) -> None:
    """By MEMORY USAGE, with its key's name and the server's own overhead, which is 24 bytes more on Redis 6.2."""
    claimed = await grown.claimed(key(1), **labels)
    await grown.settle(claimed, "accepted", WAMID)
    assert (await grown.record(key(1)))["wamid"] == WAMID
    name = grown.key("msg:" + key(1))
    old = (await grown.redis.info("server"))["redis_version"].startswith("6.")
    assert int(await grown.redis.memory_usage(name) or 0) <= most + 24 * old
    assert await grown.redis.strlen(name) <= 214


async def test_a_record_stays_a_small_hash_through_all_it_may_go_through(grown: Cell) -> None:
    await grown.queue(
        "k1", **{**LABELS, "campaign": "c" * 64, "content": template("t" * 64), "callback_data": "x" * 512}
    )

    async def encoding() -> bytes:
        return bytes(await grown.redis.object("encoding", grown.key("msg:k1")))

    assert await encoding() in COMPACT
    await grown.stop(f"template:102290129340398:{'t' * 64}")
    await grown.own()
    assert (await grown.claim()).parked == 1
    assert await encoding() in COMPACT
    await grown.run(stops.lift, f"template:102290129340398:{'t' * 64}", [NUMBER])
    [claimed] = await grown.claim_all()
    await grown.settle(claimed, "retry", 0, error="131049 " + "x" * 40)
    assert await encoding() in COMPACT
    await grown.claim_all()
    await grown.run(queue.cancel, "k1")
    await grown.end_lease("k1")
    await grown.run(work.tend, "process-1")
    assert await encoding() in COMPACT


async def commands(redis: Any) -> dict[str, int]:
    """How often each command ran since the last reset, within scripts too. How long that takes is in the benchmark."""
    stats = await redis.info("commandstats")
    return {name: row["calls"] for name, row in stats.items()}


async def claims(cell: Cell, count: int) -> dict[str, int]:
    await cell.redis.config_resetstat()
    for _ in range(count):
        await cell.own()
        await cell.refill()
        assert len((await cell.claim()).messages) == 4
    return await commands(cell.redis)


async def wait_in_lane(cell: Cell, number: str, count: int) -> None:
    """Many messages, of which those at the head are real; only their places are looked at."""
    await cell.queue(*(f"{number}-{n}" for n in range(100)), number=number)
    lane, now = cell.cell.lane(number, 1), await cell.now()
    for at in range(100, count, 10_000):
        names = range(at, min(at + 10_000, count))
        await cell.redis.zadd(lane, {f"{number}-{n}": now + n for n in names})
    assert await cell.redis.zcard(lane) == count


async def test_a_claim_takes_as_many_commands_however_many_wait(cell: Cell) -> None:
    await wait_in_lane(cell, NUMBER, 1_000)
    await claims(cell, 1)
    few = await claims(cell, 20)
    await cell.redis.flushall()
    await wait_in_lane(cell, NUMBER, 100_000)
    await claims(cell, 1)
    assert await claims(cell, 20) == few


async def test_a_take_takes_as_many_commands_however_many_numbers_wait_for_later(cell: Cell) -> None:
    async def takes() -> dict[str, int]:
        await cell.run(work.take, "process-1")
        await cell.redis.config_resetstat()
        for _ in range(50):
            await cell.run(work.take, "process-1")
        return await commands(cell.redis)

    later = await cell.now() + 3600 * SECOND_US
    few = await takes()
    await cell.redis.zadd(cell.key("due"), {str(n): later for n in range(10_000)})
    assert await takes() == few


async def test_a_step_of_upkeep_is_bounded_by_its_size_and_not_by_the_backlog(cell: Cell) -> None:
    await cell.redis.zadd(cell.key("expiry"), {f"ghost-{n}": 1 for n in range(5_000)})
    assert (await cell.run(work.tend, "process-1")).lost == TENDED_A_CALL
    assert await cell.redis.zcard(cell.key("expiry")) == 5_000 - TENDED_A_CALL

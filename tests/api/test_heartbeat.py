"""The endpoint's heartbeat and gaps: when it last was there, and when it last may have missed something."""

import asyncio

from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from dispatcher.api.forwarding import Forwarding
from dispatcher.api.journal import ApiJournal
from dispatcher.api.webhook_endpoint import BEAT_SPACING_S, Inbox
from dispatcher.meta.webhook import Unreadable
from dispatcher.observe.metrics import ApiMetrics
from dispatcher.settings import Settings
from dispatcher.store import receipts, schema
from dispatcher.store.embedded import Server
from dispatcher.store.pipeline import Pipeline
from dispatcher.store.schema import DOOR_SILENT_S, US
from tests.api.conftest import Running, running
from tests.api.meta import webhook
from tests.cell import eventually
from tests.servers import OwnServer

BODY = webhook()


def an_inbox(redis: Redis, process: str = "door-1") -> Inbox:
    """An inbox whose heartbeat does not run."""
    pipeline, cell, journal = Pipeline(redis), schema.Cell(), ApiJournal(ApiMetrics(CollectorRegistry()), process)
    return Inbox(pipeline, cell, process, Forwarding(pipeline, cell, process, Settings(), journal), journal)


async def test_a_start_is_a_gap_and_a_beat_is_none(server: Server, redis: Redis) -> None:
    before = int((await redis.time())[0]) * 1_000_000
    async with running(server.url) as api:
        await api.marks_a_gap_after(before)
        gap = await api.gap()
        assert await api.post(BODY) == 200

        async def has_beaten() -> bool:
            return int(await redis.hget(f"{api.prefix}door", "seen") or 0) > gap  # type: ignore[misc]

        await eventually(has_beaten)
        assert await api.gap() == gap


async def test_a_door_that_was_silent_for_too_long_had_a_gap(redis: Redis) -> None:
    inbox, door = an_inbox(redis), schema.Cell().key("door")
    assert (await inbox.beat()).marked
    assert not (await inbox.beat()).marked
    gap = int(await redis.hget(door, "gap") or 0)  # type: ignore[misc]
    await redis.hset(door, "seen", str(await now_us(redis) - US))  # type: ignore[misc]
    assert not (await inbox.beat()).marked
    await redis.hset(door, "seen", str(await now_us(redis) - DOOR_SILENT_S * US))  # type: ignore[misc]
    assert (await inbox.beat()).marked
    assert int(await redis.hget(door, "gap") or 0) > gap  # type: ignore[misc]


async def test_a_gap_never_moves_back_whatever_the_clock_does(redis: Redis) -> None:
    inbox, door = an_inbox(redis), schema.Cell().key("door")
    ahead = str(await now_us(redis) + 3600 * US)
    await redis.hset(door, "gap", ahead)  # type: ignore[misc]
    assert (await inbox.beat()).marked
    inbox.missed()
    await inbox.store(b"{}", "", "")
    await Pipeline(redis).run(receipts.keep_unreadable(schema.Cell(), [Unreadable("no JSON", "x", is_receipt=True)]))
    assert await redis.hget(door, "gap") == ahead.encode()  # type: ignore[misc]


async def test_a_clock_that_stepped_back_is_a_gap_until_it_has_caught_up(redis: Redis) -> None:
    inbox, door, doors = an_inbox(redis), schema.Cell().key("door"), schema.Cell().key("doors")
    await inbox.beat()
    ahead = str(await now_us(redis) + 3600 * US)
    await redis.hset(door, "seen", ahead)  # type: ignore[misc]
    await redis.zadd(doors, {"door-1": ahead, "door-2": ahead})
    assert (await inbox.beat()).marked
    assert await redis.hget(door, "gap") == ahead.encode()  # type: ignore[misc]
    assert await redis.zrange(doors, 0, -1) == [b"door-1"]
    assert not (await inbox.beat()).marked


async def test_a_gap_is_told_with_the_next_body(redis: Redis) -> None:
    inbox, door = an_inbox(redis), schema.Cell().key("door")
    await inbox.store(b"{}", "", "")
    first = int(await redis.hget(door, "gap") or 0)  # type: ignore[misc]
    await inbox.store(b"{}", "", "")
    assert int(await redis.hget(door, "gap") or 0) == first > 0  # type: ignore[misc]
    inbox.missed()
    await inbox.store(b"{}", "", "")
    assert int(await redis.hget(door, "gap") or 0) > first  # type: ignore[misc]
    assert not inbox.has_gap


async def test_a_door_that_falls_silent_beside_another_is_a_gap_once(redis: Redis) -> None:
    first, second = (an_inbox(redis, name) for name in ("door-1", "door-2"))
    for inbox in (first, second):
        await inbox.beat()
    assert not (await first.beat()).marked
    await redis.zadd(schema.Cell().key("doors"), {"door-2": await now_us(redis) - DOOR_SILENT_S * US - 1})
    assert (await first.beat()).marked
    assert not (await first.beat()).marked


async def test_a_door_that_says_goodbye_beside_another_is_no_gap(redis: Redis) -> None:
    first, second = (an_inbox(redis, name) for name in ("door-1", "door-2"))
    for inbox in (first, second):
        await inbox.beat()
    await second.beat(is_last=True)
    assert await redis.zrange(schema.Cell().key("doors"), 0, -1) == [b"door-1"]
    assert not (await first.beat()).marked


async def now_us(redis: Redis) -> int:
    seconds, microseconds = await redis.time()
    return int(seconds) * US + int(microseconds)


async def test_what_is_missed_while_a_beat_is_under_way_is_told_by_the_next(redis: Redis) -> None:
    inbox = an_inbox(redis)
    beating = asyncio.create_task(inbox.beat())
    await asyncio.sleep(0)
    inbox.missed()
    assert (await beating).marked
    assert inbox.has_gap
    assert (await inbox.beat()).marked


async def test_many_bad_requests_share_a_write(api: Running) -> None:
    await api.marks_a_gap_after(1)
    before, began = api.scripts("beat"), asyncio.get_running_loop().time()
    for _ in range(100):
        assert await api.post(b"{}", {}) == 401
    took = asyncio.get_running_loop().time() - began
    assert api.scripts("beat") - before <= took / BEAT_SPACING_S + 2


async def test_a_gap_that_redis_did_not_hear_of_is_told_when_it_is_back(own_server: OwnServer) -> None:
    redis_server = own_server(options={"appendonly": "yes", "appendfsync": "always"})
    async with running(redis_server.url) as api:
        await api.marks_a_gap_after(1)
        redis_server.kill()
        assert await api.post(b"{}", {}) == 401
        redis_server.start()
        before = await api.now()
        await api.marks_a_gap_after(before)


async def test_a_stop_tells_what_is_not_told_yet(server: Server, redis: Redis) -> None:
    async with running(server.url) as api:
        await api.marks_a_gap_after(1)
        before = await api.now()
        assert await api.post(b"{}", {}) == 401
        await api.end()
        assert int(await redis.hget(f"{api.prefix}door", "gap") or 0) >= before  # type: ignore[misc]

"""Consumers of a cell's streams: each event at least once for each group, whoever dies and whatever Redis does."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from dispatcher import Dispatcher, Event, Incoming, errors
from dispatcher.message import event
from dispatcher.store import schema
from dispatcher.store.connection import connect
from dispatcher.store.consumer import Consumer
from dispatcher.store.embedded import Server
from dispatcher.store.streams import Talk
from tests.servers import PATIENCE_S, OwnServer, old_server_path
from tests.store.cell import NUMBER, Cell

STREAM = "dispatch:{main}:events"
IDLE_S = 0.3
TOLD = {
    "v": "1", "type": "accepted", "at": "1795377964287", "number": NUMBER, "key": "k1", "wamid": "wamid.1",
    "campaign": "spring", "category": "marketing", "attempt": "2", "cause": "", "error": "",
    "extra": '{"callback_data":"order=1","trace":"00-1-2-01"}', "pricing": '{"billable":true}',
}  # fmt: skip
EVENT = Event(
    id="1-1", v=1, type="accepted", at=datetime(2026, 11, 22, 20, 6, 4, 287000, tzinfo=UTC), number=NUMBER, key="k1",
    wamid="wamid.1", campaign="spring", category="marketing", callback_data="order=1", attempt=2, cause="", error="",
    pricing={"billable": True}, trace="00-1-2-01",
)  # fmt: skip


async def tell(redis: Any, *keys: str, stream: str = STREAM, **fields: str) -> list[str]:
    """Write one event a key, as the scripts do."""
    return [(await redis.xadd(stream, TOLD | {"key": key} | fields)).decode() for key in keys]


async def some(events: AsyncGenerator[Event, None], count: int) -> list[str]:
    """The keys of the next events; the last of them is not acknowledged."""
    return [(await asyncio.wait_for(anext(events), PATIENCE_S)).key for _ in range(count)]


async def nothing(events: AsyncGenerator[Any, None], for_s: float = 0.3) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(events), for_s)


async def pending(redis: Any, group: str = "crm") -> dict[str, int]:
    """How many entries are pending, by consumer."""
    found = await redis.xpending(STREAM, group)
    return {row["name"].decode(): row["pending"] for row in found["consumers"]}


async def somebody_waits(raw: Any) -> None:
    """Until somebody waits in a read."""
    while not (await raw.info("clients"))["blocked_clients"]:
        await asyncio.sleep(0.01)


def talk(server: Server, timeout_s: float = PATIENCE_S) -> Talk:
    return Talk(connect(server.url, schema.Cell(), timeout_s=timeout_s, connections=1), timeout_s)


@pytest.fixture
async def d(server: Server, redis: "Redis") -> AsyncIterator[Dispatcher]:
    async with Dispatcher.connect(server.url, timeout_s=PATIENCE_S) as connected:
        yield connected


@pytest.fixture
def raw(redis: "Redis") -> Any:
    return redis


# what an event says


def test_an_entry_is_read_whole() -> None:
    assert event.event("1-1", TOLD) == EVENT
    assert json.loads(EVENT.as_json()) == {
        "id": "1-1", "v": 1, "type": "accepted", "at": "2026-11-22T20:06:04.287Z", "number": NUMBER, "key": "k1",
        "wamid": "wamid.1", "campaign": "spring", "category": "marketing", "callback_data": "order=1", "attempt": 2,
        "cause": "", "error": "", "pricing": {"billable": True}, "trace": "00-1-2-01",
    }  # fmt: skip


def test_an_inbound_message_is_read_with_all_that_meta_sent() -> None:
    fields = {"v": "1", "type": "inbound", "at": "1000", "waba": "7", "sender": "+1650", "raw": '{"a":[1]}', "new": "x"}
    assert event.incoming("5-0", fields) == Incoming(
        id="5-0", v=1, type="inbound", at=datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), number="", waba="7", wamid="",
        sender="+1650", kind="", text="", data={"a": [1]}, more={"new": "x"},
    )  # fmt: skip


@given(st.dictionaries(st.sampled_from([*TOLD, "raw"]) | st.text(), st.text()))
def test_any_entry_is_read(fields: dict[str, str]) -> None:
    event.event("1-1", fields).as_json()
    event.incoming("1-1", fields).as_json()


async def test_what_became_of_a_message_is_told(d: Dispatcher, cell: Cell) -> None:
    claimed = await cell.claimed("k1", callback_data="order=1")
    await cell.settle(claimed, "accepted", "wamid.77")
    async with aclosing(d.events(group="crm")) as events:
        told = await anext(events)
    assert (told.type, told.key, told.number, told.wamid, told.callback_data) == (
        "accepted", "k1", NUMBER, "wamid.77", "order=1",
    )  # fmt: skip
    assert abs((datetime.now(UTC) - told.at).total_seconds()) < 60


# what a group gets


async def test_a_new_group_begins_at_the_oldest_event(d: Dispatcher, raw: Any) -> None:
    await tell(raw, "k1", "k2")
    async with aclosing(d.events(group="crm")) as events:
        assert await some(events, 2) == ["k1", "k2"]
        await tell(raw, "k3")
        assert await some(events, 1) == ["k3"]


async def test_each_group_gets_everything(d: Dispatcher, raw: Any) -> None:
    await tell(raw, "k1", "k2")
    for group in ("crm", "billing"):
        async with aclosing(d.events(group=group)) as events:
            assert await some(events, 2) == ["k1", "k2"]


async def test_two_consumers_share(d: Dispatcher, raw: Any) -> None:
    async with aclosing(d.events(group="crm")) as one, aclosing(d.events(group="crm")) as other:
        await tell(raw, "k0")
        assert await some(one, 1) == ["k0"]
        await tell(raw, *(f"k{i}" for i in range(1, 301)))
        found = await some(one, 100)
        found += await some(other, 100)
        found += await some(one, 100)
        assert sorted(found) == sorted(f"k{i}" for i in range(1, 301))


async def test_an_event_is_acknowledged_when_the_next_is_asked_for(d: Dispatcher, raw: Any) -> None:
    await tell(raw, "k1", "k2")
    async with aclosing(d.events(group="crm", consumer="a")) as events:
        await some(events, 1)
        assert await pending(raw) == {"a": 2}
        await some(events, 1)
        while await pending(raw) != {"a": 1}:
            await asyncio.sleep(0.01)
        await nothing(events)
        assert await pending(raw) == {}


async def test_a_break_leaves_the_last_event_pending_and_gives_the_others_back(d: Dispatcher, raw: Any) -> None:
    await tell(raw, "k1", "k2", "k3")
    async for told in d.events(group="crm", consumer="a"):
        if told.key == "k2":
            break
    while await pending(raw) != {"a": 2}:
        await asyncio.sleep(0.01)
    async with aclosing(d.events(group="crm", consumer="b")) as events:
        assert await some(events, 1) == ["k3"]
    async with aclosing(d.events(group="crm", consumer="a")) as events:
        assert await some(events, 1) == ["k2"]


async def test_a_cancelled_consumer_leaves_what_it_was_at(d: Dispatcher, raw: Any) -> None:
    await tell(raw, "k1")
    seen = asyncio.Event()

    async def consume() -> None:
        async for _ in d.events(group="crm", consumer="a"):
            seen.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(consume())
    await asyncio.wait_for(seen.wait(), PATIENCE_S)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert await pending(raw) == {"a": 1}


async def test_a_consumer_that_waits_is_cancelled_at_once(d: Dispatcher, raw: Any) -> None:
    await tell(raw, "k1")
    async with aclosing(d.events(group="crm", consumer="a")) as events:
        await some(events, 1)
        await nothing(events, for_s=0.05)
    assert await pending(raw) == {}


async def test_a_cancellation_that_redis_py_loses_is_not_lost(d: Dispatcher, raw: Any) -> None:
    await tell(raw, "k1")

    async def consume() -> None:
        async for _ in d.events(group="crm"):
            task = asyncio.current_task()
            assert task is not None
            task.cancel()

    task = asyncio.create_task(consume())
    await asyncio.wait([task], timeout=PATIENCE_S)
    assert task.cancelled()


async def test_whoever_has_no_name_leaves_none(d: Dispatcher, raw: Any) -> None:
    await tell(raw, "k1", "k2")
    events = d.events(group="crm")
    assert await some(events, 2) == ["k1", "k2"]
    assert len(await raw.xinfo_consumers(STREAM, "crm")) == 1
    consumer = Consumer(Talk(raw, 2.0), STREAM, "other")
    assert [entry.id async for entry in consumer.handed_out(waits=False)]
    assert await raw.xinfo_consumers(STREAM, "other") == []
    await events.aclose()
    assert sum((await pending(raw)).values()) == 1


# who dies


async def test_what_a_dead_consumer_had_goes_to_another(server: Server, d: Dispatcher, raw: Any) -> None:
    await tell(raw, *(f"k{i}" for i in range(5)))
    async with aclosing(Consumer(talk(server), STREAM, "crm", "dead", idle_s=IDLE_S).handed_out()) as dead:
        await anext(dead)
        assert await pending(raw) == {"dead": 5}
        async with aclosing(d.events(group="crm", consumer="alive", idle_s=IDLE_S)) as events:
            assert await some(events, 5) == [f"k{i}" for i in range(5)]
            await nothing(events)
            assert await pending(raw) == {}


async def test_a_name_that_comes_back_goes_on_at_once(server: Server, d: Dispatcher, raw: Any) -> None:
    await tell(raw, "k1", "k2")
    first = d.events(group="crm", consumer="a")
    assert await some(first, 1) == ["k1"]
    async with aclosing(d.events(group="crm", consumer="a")) as events:
        assert await some(events, 2) == ["k1", "k2"]
    await first.aclose()


async def test_a_slow_consumer_keeps_what_it_has(d: Dispatcher, raw: Any) -> None:
    """The batch takes longer than an entry may be pending, but no single event does."""
    idle_s = 0.5
    while await longest_work_s(d, raw, idle_s) > 0.9 * idle_s:
        pass  # the machine was too busy for that to be so


async def longest_work_s(d: Dispatcher, raw: Any, idle_s: float) -> float:
    """Let two consumers share a batch, and see that they get each event once unless the work on one took too long."""
    await raw.delete(STREAM)
    keys = [f"k{i}" for i in range(12)]
    await tell(raw, *keys)
    found: dict[str, list[str]] = {"slow": [], "other": []}
    longest_s = 0.0

    async def consume(name: str, takes_s: float) -> None:
        nonlocal longest_s
        began_s = time.monotonic()
        async for told in d.events(group="crm", consumer=name, idle_s=idle_s):
            if found[name]:
                longest_s = max(longest_s, time.monotonic() - began_s)
            began_s = time.monotonic()
            found[name].append(told.key)
            await asyncio.sleep(takes_s)

    slow = asyncio.create_task(consume("slow", 0.08))
    while not found["slow"]:
        await asyncio.sleep(0.01)
    other = asyncio.create_task(consume("other", 0))
    while set(found["slow"] + found["other"]) < set(keys) or await pending(raw):
        await asyncio.sleep(0.01)
    for task in (slow, other):
        task.cancel()
    await asyncio.wait([slow, other])
    assert sorted(found["slow"] + found["other"]) == sorted(keys) or longest_s > 0.9 * idle_s
    return longest_s


async def test_what_was_trimmed_while_pending_is_passed_over(server: Server, own_server: OwnServer) -> None:
    for running in (server, own_server(old_server_path())):
        async with Dispatcher.connect(running.url) as d, Redis.from_url(running.url, protocol=2) as raw:
            await raw.flushall()
            ids = await tell(raw, "k1", "k2", "k3")
            async with aclosing(Consumer(talk(running), STREAM, "crm", "dead", idle_s=IDLE_S).handed_out()) as dead:
                await anext(dead)
                await raw.xtrim(STREAM, minid=ids[2], approximate=False)
                async with aclosing(d.events(group="crm", consumer="alive", idle_s=IDLE_S)) as events:
                    assert await some(events, 1) == ["k3"]
                    await nothing(events)
                    assert await pending(raw) == {}


async def test_a_restart_of_redis_is_waited_for(own_server: OwnServer) -> None:
    own = own_server(options={"appendonly": "yes", "appendfsync": "always"})
    async with (
        Dispatcher.connect(own.url) as d,
        Redis.from_url(own.url, protocol=2) as raw,
        aclosing(d.events(group="crm", consumer="a")) as events,
    ):
        await tell(raw, "k1", "k2", "k3")
        assert await some(events, 1) == ["k1"]
        own.kill()
        assert await some(events, 2) == ["k2", "k3"]
        reading = asyncio.create_task(some(events, 1))
        await asyncio.sleep(0.3)
        own.start()
        await tell(raw, "k4")
        assert await reading == ["k4"]
        assert await pending(raw) == {"a": 1}


async def test_a_redis_that_forgot_the_group_gets_it_anew(own_server: OwnServer) -> None:
    own = own_server()
    async with (
        Dispatcher.connect(own.url) as d,
        Redis.from_url(own.url, protocol=2) as raw,
        aclosing(d.events(group="crm")) as events,
    ):
        await tell(raw, "k1")
        assert await some(events, 1) == ["k1"]
        reading = asyncio.create_task(some(events, 2))
        await somebody_waits(raw)
        await raw.flushall()
        await tell(raw, "k2", "k3")
        assert await reading == ["k2", "k3"]


async def test_a_redis_that_is_not_there_is_an_error() -> None:
    async with Dispatcher.connect("redis://127.0.0.1:1/0") as d:
        with pytest.raises(errors.QueueUnavailable):
            await anext(d.events(group="crm"))


async def test_what_is_no_stream_is_an_error(d: Dispatcher, raw: Any) -> None:
    await raw.set(STREAM, "x")
    with pytest.raises(errors.QueueBroken):
        await anext(d.events(group="crm"))


async def test_wrong_use_is_said(d: Dispatcher, cell: Cell) -> None:
    with pytest.raises(ValueError, match="stream must be one of events, inbound, updates, given 'webhooks'"):
        d.events(group="crm", stream="webhooks")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="a group needs a name"):
        d.events(group="")
    with pytest.raises(RuntimeError, match="use Dispatcher.connect"):
        Dispatcher(cell.pipeline).events(group="crm")


async def test_the_other_streams_bring_what_meta_sent(d: Dispatcher, raw: Any) -> None:
    await raw.xadd(
        "dispatch:{main}:inbound", {"v": "1", "type": "text", "at": "1", "sender": "+1650", "raw": '{"id":"w"}'}
    )
    await raw.xadd("dispatch:{main}:updates", {"v": "1", "type": "account_alerts", "raw": "{"})
    async with aclosing(d.events(group="crm", stream="inbound")) as events:
        said = await anext(events)
        assert (said.sender, said.data) == ("+1650", {"id": "w"})
    async with aclosing(d.events(group="crm", stream="updates")) as events:
        news = await anext(events)
        assert (news.type, news.data) == ("account_alerts", None)

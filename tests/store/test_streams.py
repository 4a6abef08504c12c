"""A cell's streams without a group, how far groups are behind, and webhooks that are handed in."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import pytest
from redis.asyncio import Redis

from dispatcher import Dispatcher, errors
from dispatcher.store.embedded import Server
from dispatcher.store.streams import COUNTED_MAX, OLDEST, Entry, Lag, before, follow, newest
from tests.servers import OwnServer, old_server_path
from tests.store.test_events import STREAM, TOLD, d, raw, some, somebody_waits, talk, tell

__all__ = ["d", "raw"]  # fixtures


# reading without a group


async def keys_of(entries: AsyncIterator[Entry]) -> list[str]:
    return [(entry.fields or {})["key"] async for entry in entries]


async def test_a_stream_can_be_read_without_a_group(server: Server, raw: Any) -> None:
    for i in range(250):
        await raw.xadd(STREAM, TOLD | {"key": f"k{i}"}, id=f"{1000 + i}-0")
    own = talk(server)
    assert await keys_of(follow(own, STREAM, after=OLDEST, waits=False)) == [f"k{i}" for i in range(250)]
    assert await keys_of(follow(own, STREAM, after=before(1248), waits=False)) == ["k248", "k249"]
    assert await newest(own, STREAM) == "1249-0"
    async with aclosing(follow(own, STREAM, after="1249-0", waits=True)) as entries:
        reading = asyncio.ensure_future(anext(entries))
        await somebody_waits(raw)
        await tell(raw, "k250")
        assert (await reading).fields == TOLD | {"key": "k250"}
    await own.close()


async def test_a_short_timeout_is_no_trouble_to_those_who_wait(server: Server, raw: Any) -> None:
    async with Dispatcher.connect(server.url, timeout_s=0.2) as d, aclosing(d.events(group="crm")) as events:
        reading = asyncio.create_task(some(events, 1))
        await asyncio.sleep(0.5)
        await tell(raw, "k1")
        assert await reading == ["k1"]


# how far groups are behind


@pytest.fixture(params=["suite", "old"])
def any_server(request: pytest.FixtureRequest, server: Server, own_server: Callable[..., Server]) -> Server:
    return server if request.param == "suite" else own_server(old_server_path())


async def test_the_lag_of_a_group_is_what_it_has_not_acknowledged(any_server: Server) -> None:
    async with Dispatcher.connect(any_server.url) as d, Redis.from_url(any_server.url, protocol=2) as client:
        raw: Any = client
        await raw.flushall()
        assert await d.lags() == []
        seconds, _ = await raw.time()
        began_s = time.monotonic()
        for i in range(1500):
            await raw.xadd(STREAM, {"key": str(i)}, id=f"{seconds - 100}000-{i + 1}")
        await raw.xgroup_create(STREAM, "behind", "0")
        await raw.xgroup_create(STREAM, "done", "$")
        await raw.xgroup_create("dispatch:{main}:inbound", "crm", "0", mkstream=True)
        await raw.xreadgroup("behind", "a", {STREAM: ">"}, count=700)
        found = {(lag.stream, lag.group): lag for lag in await d.lags()}
        assert found.keys() == {("events", "behind"), ("events", "done"), ("inbound", "crm")}
        behind = found["events", "behind"]
        assert behind.waiting == 1500
        assert 99 <= behind.oldest_s <= 102 + time.monotonic() - began_s
        assert found["events", "done"] == Lag("events", "done", 0, 0.0)
        assert found["inbound", "crm"] == Lag("inbound", "crm", 0, 0.0)


async def test_before_redis_7_the_count_is_bounded(own_server: OwnServer) -> None:
    own = own_server(old_server_path())
    async with Dispatcher.connect(own.url) as d, Redis.from_url(own.url, protocol=2) as client:
        raw: Any = client
        await tell(raw, *(str(i) for i in range(COUNTED_MAX + 50)))
        await raw.xgroup_create(STREAM, "crm", "0")
        (lag,) = await d.lags()
        assert lag.waiting == COUNTED_MAX


async def test_what_is_no_stream_has_no_lag(d: Dispatcher, raw: Any) -> None:
    await raw.set(STREAM, "x")
    assert await d.lags() == []


# webhooks that somebody else received


async def received(raw: Any) -> list[dict[bytes, bytes]]:
    return [fields for _, fields in await raw.xrange("dispatch:{main}:webhooks")]


async def test_a_webhook_is_handed_in_as_it_came(d: Dispatcher, raw: Any) -> None:
    await d.receive(b'{"entry": []}\n')
    await d.receive({"entry": [{"id": "é\ud83d"}]})
    assert await received(raw) == [
        {b"body": b'{"entry": []}\n', b"from": b"receive"},
        {b"body": b'{"entry":[{"id":"\\u00e9\\ud83d"}]}', b"from": b"receive"},
    ]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"[]", "payload: must be a JSON object, as Meta posts it"),
        (b"{", "payload: is no JSON: Expecting property name"),
        ("{}", "payload: must be an object or bytes, given str"),
        ({"a": {1, 2}}, "payload: cannot be written as JSON: Object of type set"),
        (b'{"a":"' + b"x" * 3 * 2**20 + b'"}', "payload: must have at most 3,145,728 bytes, has 3,145,736"),
    ],
)
async def test_what_is_no_webhook_is_refused(d: Dispatcher, raw: Any, payload: Any, reason: str) -> None:
    with pytest.raises(errors.Refused) as caught:
        await d.receive(payload)
    assert str(caught.value).startswith(reason)
    assert await received(raw) == []


async def test_a_full_server_takes_no_webhook(own_server: OwnServer) -> None:
    own = own_server(options={"maxmemory": "1"})
    async with Dispatcher.connect(own.url) as d:
        with pytest.raises(errors.QueueFull):
            await d.receive({"entry": []})


async def test_without_redis_no_webhook_is_taken() -> None:
    async with Dispatcher.connect("redis://127.0.0.1:1/0") as d:
        with pytest.raises(errors.QueueUnavailable):
            await d.receive({"entry": []})

"""Webhooks are passed on as they came, at least once, and nobody waits for a URL that is slow or away."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from dispatcher.api import forwarding
from dispatcher.api.forwarding import CircuitBreaker
from dispatcher.api.run import Timeouts
from dispatcher.store import schema
from dispatcher.store.embedded import Server
from dispatcher.store.webhooks import forward_name
from tests.api.conftest import Running, running
from tests.api.meta import signature, status, text, webhook
from tests.cell import eventually

SOON = Timeouts(take_over_forwards_s=0.2)


@dataclass
class Target:
    """Another program with a webhook; `port` stays the same however often it opens. `held` holds its answers up."""

    port: int = 0
    statuses: list[int] = field(default_factory=list)
    held: asyncio.Event | None = None
    answered: int = 0
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    _tasks: "set[asyncio.Task[None]]" = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?token=secret"

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator["Target"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await self._answer(reader, writer)
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
            body = await reader.readexactly(int(fields[b"content-length"]))
            self.heads.append(head)
            self.bodies.append(body)
            if self.held is not None:
                await self.held.wait()
            code = self.statuses.pop(0) if self.statuses else 200
            where = "location: /elsewhere\r\n" if 300 <= code < 400 else ""
            writer.write(f"HTTP/1.1 {code} X\r\n{where}content-length: 0\r\nconnection: close\r\n\r\n".encode())
            await writer.drain()
            self.answered += 1

    async def has(self, *bodies: bytes) -> None:
        async def has_all() -> bool:
            return set(bodies) <= set(self.bodies)

        await eventually(has_all)


@contextlib.contextmanager
def away() -> Iterator[Target]:
    """A target that is away until it opens; nobody else can be given its port meanwhile."""
    with socket.socket() as bound_but_not_listening:
        bound_but_not_listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound_but_not_listening.bind(("127.0.0.1", 0))
        yield Target(port=bound_but_not_listening.getsockname()[1])


def stream(api: Running, target: Target) -> str:
    return f"{api.prefix}forward:{forward_name(target.url)}"


async def is_passed_on(api: Running, target: Target) -> None:
    async def is_empty() -> bool:
        return int(await api.redis.xlen(stream(api, target))) == 0

    await eventually(is_empty)


async def test_what_meta_signed_is_passed_on_byte_for_byte(server: Server, redis: Redis) -> None:
    bodies = [
        webhook(messages=[text("grüße \U0001f600 \ud83d")]),
        webhook(messages=[text("raw")]).replace(b"raw", "grüße 😀".encode()),
        b"\x00\xff no JSON\r\n",
        b"",
    ]
    async with Target().open() as one, Target().open() as other:
        given = f"{one.url}, {other.url}"
        async with running(server.url, webhook_forward_urls=given) as api:
            for body in bodies:
                headers = {"content-type": "application/json; charset=utf-8", "x-hub-signature-256": signature(body)}
                assert await api.post(body, headers) == 200
            assert await api.post(b"forged", {"x-hub-signature-256": signature(b"other")}) == 401
            for target in (one, other):
                await target.has(*bodies)
                await is_passed_on(api, target)
                assert sorted(target.bodies) == sorted(bodies)
                for head, body in zip(target.heads, target.bodies, strict=True):
                    lines = head.lower().split(b"\r\n")
                    assert lines[0] == b"post /hook?token=secret http/1.1"
                    assert b"content-type: application/json; charset=utf-8" in lines
                    assert f"x-hub-signature-256: {signature(body)}".encode() in lines
            labels = {"host": "127.0.0.1", "outcome": "delivered"}
            assert api.value("dispatcher_webhook_forwarded_total", **labels) == 8


async def test_a_target_that_is_away_gets_everything_later_and_delays_nobody(server: Server, redis: Redis) -> None:
    bodies = [webhook([status(f"k{i}")]) for i in range(20)]
    with away() as gone:
        async with Target().open() as there:
            urls = f"{gone.url},{there.url}"
            async with running(server.url, webhook_forward_urls=urls, timeouts=SOON) as api:
                for body in bodies:
                    assert await api.post(body) == 200
                await there.has(*bodies)
                assert await api.redis.xlen(stream(api, gone)) == len(bodies)

                async def is_seen() -> bool:
                    return api.value("dispatcher_webhook_forward_backlog", host="127.0.0.1") >= len(bodies)

                await eventually(is_seen)
                async with gone.open():
                    await gone.has(*bodies)
                    await is_passed_on(api, gone)


async def test_a_slow_target_slows_no_answer_and_no_other_target(server: Server, redis: Redis) -> None:
    bodies = [webhook([status(f"k{i}")]) for i in range(50)]
    held = asyncio.Event()
    async with Target(held=held).open() as slow, Target().open() as quick:
        assert slow.url != quick.url
        async with running(server.url, webhook_forward_urls=f"{slow.url},{quick.url}") as api:
            for body in bodies:
                assert await api.post(body) == 200
            await quick.has(*bodies)
            assert slow.answered == 0
            held.set()
            await slow.has(*bodies)


async def test_a_restart_goes_on_where_it_was(server: Server, redis: Redis) -> None:
    bodies = [webhook([status(f"k{i}")]) for i in range(10)]
    with away() as target:
        async with running(server.url, cell="restarted", webhook_forward_urls=target.url) as api:
            for body in bodies:
                assert await api.post(body) == 200
            await api.works_off_all()
        async with target.open(), running(server.url, cell="restarted", webhook_forward_urls=target.url) as api:
            # given back at the stop: nobody waits for the minute after which they would be taken over
            await target.has(*bodies)
            await is_passed_on(api, target)


async def test_what_is_refused_is_tried_again_and_holds_up_nothing(server: Server, redis: Redis) -> None:
    async with Target().open() as target:
        target.statuses = [500, 404, 302]
        async with running(server.url, webhook_forward_urls=target.url, timeouts=SOON) as api:
            assert await api.post(b"first") == 200
            await target.has(b"first")
            assert await api.post(b"second") == 200
            await is_passed_on(api, target)
            assert api.value("dispatcher_webhook_forwarded_total", host="127.0.0.1", outcome="refused") == 3
            assert len(target.bodies) == 5  # no redirect was followed


async def test_what_waited_too_long_is_given_up(server: Server, redis: Redis) -> None:
    given: dict[str, Any] = {"webhook_forward_kept_s": 1.0}
    with away() as target:
        async with running(server.url, timeouts=SOON, webhook_forward_urls=target.url, **given) as api:
            assert await api.post(b"first") == 200
            await is_passed_on(api, target)

            async def is_counted() -> bool:
                return api.value("dispatcher_webhook_forwarded_total", host="127.0.0.1", outcome="given_up") == 1

            await eventually(is_counted)

            async def has_come() -> bool:
                assert await api.post(b"second") == 200  # which may itself have waited for too long before
                return b"second" in target.bodies

            async with target.open():
                await eventually(has_come)


async def test_streams_of_urls_that_nobody_knows_any_more_are_dropped(server: Server, redis: Redis) -> None:
    target = Target(port=9)
    key = schema.Cell("disowned").key
    async with running(server.url, cell="disowned", webhook_forward_urls=target.url) as api:
        assert await api.post(b"first") == 200
    assert await redis.xlen(key(f"forward:{forward_name(target.url)}")) == 1
    async with running(server.url, cell="disowned") as api:

        async def has_looked() -> bool:
            return api.scripts("forget_forwards") > 0

        await eventually(has_looked)
        assert await redis.exists(key(f"forward:{forward_name(target.url)}")) == 1
    await redis.hset(key("forwards"), forward_name(target.url), "1")  # type: ignore[misc]
    async with running(server.url, cell="disowned"):

        async def is_gone() -> bool:
            return int(await redis.exists(key(f"forward:{forward_name(target.url)}"))) == 0

        await eventually(is_gone)
        assert await redis.hlen(key("forwards")) == 0  # type: ignore[misc]


async def test_two_processes_pass_each_on_once(server: Server, redis: Redis) -> None:
    bodies = [webhook([status(f"k{i}")]) for i in range(100)]
    async with Target().open() as target:
        given: dict[str, Any] = {"cell": "porters", "webhook_forward_urls": target.url}
        async with running(server.url, **given) as one, running(server.url, **given) as other:
            for body in bodies:
                await one.post(body)
            await target.has(*bodies)
            await is_passed_on(other, target)
            assert sorted(target.bodies) == sorted(bodies)


async def test_without_room_messages_come_first(server: Server, redis: Redis) -> None:
    async with Target().open() as target, running(server.url, webhook_forward_urls=target.url) as api:
        await api.marks_a_gap_after(1)
        await redis.config_set("maxmemory", str(int((await redis.info("memory"))["used_memory"] * 1.25)))
        try:

            async def is_left_out() -> bool:
                assert await api.post(b"{}") == 200
                found = api.value("dispatcher_webhook_forwarded_total", host="127.0.0.1", outcome="no_room")
                return found > 0

            await eventually(is_left_out)
        finally:
            await redis.config_set("maxmemory", "0")


async def test_a_url_that_fails_is_asked_by_one_at_a_time_and_ever_more_rarely() -> None:
    breaker = CircuitBreaker(rand=lambda: 0.1)
    began_at = time.monotonic()
    for _ in range(3):
        breaker.failed(time.monotonic())  # closes at once, and then no further before a new try
        began = time.monotonic()
        breaker.failed(began - 1)
    at_once = most = 0

    async def ask() -> None:
        nonlocal at_once, most
        async with breaker.turn():
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0.01)
            at_once -= 1

    await asyncio.gather(*(ask() for _ in range(3)))
    assert most == 1
    assert time.monotonic() - began_at >= 0.2
    breaker.succeeded()
    await asyncio.gather(*(ask() for _ in range(3)))
    assert most == 3
    assert forwarding.AT_ONCE_MAX > 3

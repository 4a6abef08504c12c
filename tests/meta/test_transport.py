"""The table of design section 6, on real sockets: what a failure proves, and how often a request is read.

Every test states the whole reply and the number of requests that the server has read to their last byte.
"""

import asyncio
import random
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version

import pytest
import pytest_asyncio
import trustme

from dispatcher.meta.graph import Graph
from dispatcher.meta.transport import Engine
from dispatcher.policy.outcome import Answer, Lost, Reply, Unsent
from tests.meta.wire import ACCEPTED, Line, Script, full_backlog, http, serving

TOKEN = "EAAsecret"
CONNECT_S = 0.3
DEADLINE_S = 0.4

OK = Answer(200, {"messages": [{"id": "wamid.1"}]})

Post = Callable[..., Awaitable[Reply]]


@pytest_asyncio.fixture
async def post() -> AsyncIterator[Post]:
    """Posts through one engine, so that connections are kept between the posts of a test."""
    transport = Engine(connect_timeout_s=CONNECT_S)

    async def post(url: str, *, deadline_s: float = DEADLINE_S) -> Reply:
        graph = Graph(url=url, version="v25.0", transport=transport)
        return await graph.post("106", TOKEN, b'{"type":"text"}', deadline_s=deadline_s)

    yield post
    await transport.aclose()


# --- proved unsent ---------------------------------------------------------------------------------------------------


async def test_refused_is_proved_unsent(post: Post) -> None:
    with socket.socket() as bound_but_not_listening:
        bound_but_not_listening.bind(("127.0.0.1", 0))
        assert await post(f"http://127.0.0.1:{bound_but_not_listening.getsockname()[1]}") == Unsent("refused")


async def test_name_that_cannot_be_resolved_is_proved_unsent(post: Post) -> None:
    assert await post("http://a..b") == Unsent("dns")  # an empty label: refused without asking a server


async def test_connect_hang_is_proved_unsent(post: Post) -> None:
    with full_backlog() as url:
        assert await post(url) == Unsent("connect timeout")


async def test_deadline_within_the_connect_timeout_proves_nothing(post: Post) -> None:
    with full_backlog() as url:
        assert await post(url, deadline_s=CONNECT_S / 3) == Lost("timeout")


async def test_plain_server_spoken_to_with_tls_is_proved_unsent(post: Post) -> None:
    async def script(line: Line) -> None:
        await line.reader.read(1024)
        await line.write(http(b"", "400 Bad Request"))

    async with serving(script) as server:
        assert await post(f"https://127.0.0.1:{server.port}") == Unsent("tls")


async def test_hang_and_reset_in_the_handshake_are_proved_unsent(post: Post) -> None:
    async def hang(line: Line) -> None:
        await line.hang()

    async def reset(line: Line) -> None:
        await line.reader.read(1)
        line.reset()

    async with serving(hang) as server:
        assert await post(f"https://127.0.0.1:{server.port}") == Unsent("connect timeout")
    async with serving(reset) as server:
        assert await post(f"https://127.0.0.1:{server.port}") == Unsent("tls")


# --- uncertain -------------------------------------------------------------------------------------------------------


async def hang_after_read(line: Line) -> None:
    await line.read()
    await line.hang()


async def reset_amid_read(line: Line) -> None:
    await line.reader.readexactly(10)
    line.reset()


async def reset_after_read(line: Line) -> None:
    await line.read()
    line.reset()


async def fin_after_read(line: Line) -> None:
    await line.read()


async def half_header_then_fin(line: Line) -> None:
    await line.read()
    await line.write(b"HTTP/1.1 200 OK\r\nContent-Le")


async def half_header_then_hang(line: Line) -> None:
    await half_header_then_fin(line)
    await line.hang()


async def half_body_then_fin(line: Line) -> None:
    await line.read()
    await line.write(http(ACCEPTED, length=1000))


async def half_body_then_reset(line: Line) -> None:
    await half_body_then_fin(line)
    await asyncio.sleep(0.05)  # a reset overtakes what the peer has not read yet
    line.reset()


async def half_body_then_hang(line: Line) -> None:
    await half_body_then_fin(line)
    await line.hang()


async def half_chunk_then_fin(line: Line) -> None:
    await line.read()
    await line.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{")


async def not_http(line: Line) -> None:
    await line.read()
    await line.write(b"220 smtp.example.org ESMTP\r\n\r\n")


async def dripping_body(line: Line) -> None:
    await half_body_then_fin(line)
    while not line.server.over.is_set():
        await line.write(b" ")
        await asyncio.sleep(0.02)


async def dripping_header(line: Line) -> None:
    await half_header_then_fin(line)
    while not line.server.over.is_set():
        await line.write(b"x")
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("script", "reason", "read"),
    [
        (hang_after_read, "timeout", 1),
        (reset_amid_read, "reset", 0),
        (reset_after_read, "reset", 1),
        (fin_after_read, "closed", 1),
        (half_header_then_fin, "closed", 1),
        (half_header_then_hang, "timeout", 1),
        (half_body_then_fin, "half body", 1),
        (half_body_then_reset, "reset", 1),
        (half_body_then_hang, "timeout", 1),
        (half_chunk_then_fin, "half body", 1),
        (not_http, "unknown", 1),
        (dripping_body, "timeout", 1),
        (dripping_header, "timeout", 1),
    ],
)
async def test_what_may_have_been_read_is_lost(post: Post, script: Script, reason: str, read: int) -> None:
    async with serving(script) as server:
        began = time.monotonic()
        assert await post(server.url) == Lost(reason)
        assert time.monotonic() - began < DEADLINE_S + 0.3
        assert len(server.requests) == read


async def test_reset_at_accept_is_lost_or_proved_unsent_and_nothing_is_read(post: Post) -> None:
    """Which of the two depends on whether the client has seen the connection stand before it fell."""

    async def script(line: Line) -> None:
        line.reset()

    async with serving(script) as server:
        assert await post(server.url) in (Unsent("unreachable"), Lost("reset"))
        assert server.requests == []


# --- kept connections: what is tried again by itself, and what never ------------------------------------------------


async def test_connections_are_kept(post: Post) -> None:
    async with serving(answering_twice) as server:
        assert [await post(server.url), await post(server.url)] == [OK, OK]
        assert (len(server.requests), len(server.lines)) == (2, 1)


async def answering_twice(line: Line) -> None:
    for _ in range(2):
        await line.read()
        await line.write(http(ACCEPTED))


@pytest.mark.parametrize(("end", "reason"), [(Line.reset, "reset"), (lambda line: None, "closed")])
async def test_second_request_read_on_a_kept_connection_is_lost_and_never_repeated(
    post: Post, end: Callable[[Line], None], reason: str
) -> None:
    async def script(line: Line) -> None:
        await line.read()
        await line.write(http(ACCEPTED))
        await line.read()
        end(line)

    async with serving(script) as server:
        assert [await post(server.url), await post(server.url)] == [OK, Lost(reason)]
        assert (len(server.requests), len(server.lines)) == (2, 1)


async def test_second_request_half_read_on_a_kept_connection_is_lost_and_never_repeated(post: Post) -> None:
    async def script(line: Line) -> None:
        await line.read()
        await line.write(http(ACCEPTED))
        await reset_amid_read(line)

    async with serving(script) as server:
        assert [await post(server.url), await post(server.url)] == [OK, Lost("reset")]
        assert (len(server.requests), len(server.lines)) == (1, 1)


async def test_kept_connection_reset_while_idle_is_replaced(post: Post) -> None:
    """The engine finds it closed before it writes, so a new connection carries the request, once."""

    async def script(line: Line) -> None:
        await line.read()
        await line.write(http(ACCEPTED))
        line.reset()

    async with serving(script) as server:
        first = await post(server.url)
        await asyncio.gather(*server.plays)
        await asyncio.sleep(0.05)  # loopback hands on the reset
        assert [first, await post(server.url)] == [OK, OK]
        assert (len(server.requests), len(server.lines)) == (2, 2)


async def test_reset_racing_the_next_request_never_doubles_it(post: Post) -> None:
    """The kept connection falls about when the next request is written: read at most once, whatever is reported."""
    chance = random.Random(7)

    async def script(line: Line) -> None:
        await line.read()
        await line.write(http(ACCEPTED))
        await asyncio.sleep(chance.uniform(0, 0.001))
        line.reset()

    async with serving(script) as server:
        for _ in range(150):
            before = len(server.requests)
            reply = await post(server.url)
            await asyncio.sleep(chance.uniform(0, 0.001))
            assert reply in (OK, Lost("reset"), Lost("closed"))
            assert len(server.requests) - before == (1 if reply == OK else 0)


# --- what the engine is told ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
async def test_redirect_is_not_followed(post: Post, status: str) -> None:
    async def script(line: Line) -> None:
        for _ in range(2):
            await line.read()
            await line.write(http(b"", status, f"Location: {line.server.url}/elsewhere\r\n"))

    async with serving(script) as server:
        assert await post(server.url) == Answer(int(status[:3]), None)
        assert len(server.requests) == 1


async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(answering_twice) as proxy, serving(answering_twice) as server:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        graph = Graph(url=server.url, version="v25.0")
        assert await graph.post("106", TOKEN, b"{}", deadline_s=DEADLINE_S) == OK
        assert (len(server.requests), len(proxy.requests)) == (1, 0)
        await graph.aclose()


async def test_request_on_the_wire_has_each_header_once(post: Post) -> None:
    async with serving(answering_twice) as server:
        await post(server.url)
        head, body = server.requests[0].split(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        assert first == "POST /v25.0/106/messages HTTP/1.1"
        assert body == b'{"type":"text"}'
        assert sorted(lines) == [
            "Accept-Encoding: identity",
            "Accept: */*",
            f"Authorization: Bearer {TOKEN}",
            "Content-Length: 15",
            "Content-Type: application/json",
            f"Host: 127.0.0.1:{server.port}",
            f"User-Agent: whatsapp-dispatcher/{version('whatsapp-dispatcher')}",
        ]


async def test_answer_in_pieces_is_read_to_its_end(post: Post) -> None:
    async def script(line: Line) -> None:
        await line.read()
        for byte in http(ACCEPTED):
            await line.write(bytes([byte]))
            await asyncio.sleep(0)

    async with serving(script) as server:
        assert await post(server.url) == OK


async def test_answer_without_end_is_read_up_to_the_cap(post: Post) -> None:
    async def script(line: Line) -> None:
        await line.read()
        await line.write(b"HTTP/1.1 200 OK\r\n\r\n" + ACCEPTED)
        while not line.server.over.is_set():
            await line.write(b" " * 4096)

    async with serving(script) as server:
        assert await post(server.url) == Answer(200, None)


async def test_cancelled_post_is_out_of_our_hands(post: Post) -> None:
    """The cancellation comes through, and the request is sent all the same: nobody may call it unsent."""

    async def script(line: Line) -> None:
        await line.read()
        read.set()
        await line.hang()

    read = asyncio.Event()
    async with serving(script) as server:
        task = asyncio.ensure_future(post(server.url, deadline_s=2))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert server.requests == []
        await asyncio.wait_for(read.wait(), 1)
        assert len(server.requests) == 1


async def test_closing_closes_idle_connections_and_ends_use() -> None:
    async with serving(answering_twice) as server:
        graph = Graph(url=server.url, version="v25.0")
        assert await graph.post("106", TOKEN, b"{}", deadline_s=DEADLINE_S) == OK
        await graph.aclose()
        await graph.aclose()
        await asyncio.wait_for(asyncio.gather(*server.plays), 1)
        with pytest.raises(RuntimeError, match="closed"):
            await graph.post("106", TOKEN, b"{}", deadline_s=DEADLINE_S)


async def test_unusable_header_names_no_token() -> None:
    import httpx

    transport = Engine()
    request = httpx.Request("POST", "http://127.0.0.1:1", headers={"Authorization": "Bearer a\nb"}, content=b"{}")
    request.extensions["timeout"] = {"read": DEADLINE_S}
    with pytest.raises(httpx.LocalProtocolError, match="^request cannot be built$") as caught:
        await transport.handle_async_request(request)
    assert caught.value.__suppress_context__
    await transport.aclose()


# --- over TLS, as in production --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate() -> tuple[ssl.SSLContext, bytes]:
    """A certificate for 127.0.0.1 that only those trust who are given its authority's."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context, authority.cert_pem.bytes()


async def test_certificate_nobody_vouches_for_is_proved_unsent(
    post: Post, certificate: tuple[ssl.SSLContext, bytes]
) -> None:
    async with serving(answering_twice, certificate[0]) as server:
        assert await post(f"https://127.0.0.1:{server.port}") == Unsent("tls")
        assert server.requests == []


@pytest.mark.parametrize(
    ("script", "expected", "read"),
    [
        (answering_twice, OK, 1),
        (hang_after_read, Lost("timeout"), 1),
        (reset_amid_read, Lost("reset"), 0),
        (reset_after_read, Lost("reset"), 1),
        (half_body_then_fin, Lost("half body"), 1),
    ],
)
async def test_the_same_over_tls(
    certificate: tuple[ssl.SSLContext, bytes], script: Script, expected: Reply, read: int
) -> None:
    context, pem = certificate
    async with serving(script, context) as server:
        graph = Graph(url=f"https://127.0.0.1:{server.port}", version="v25.0", transport=Engine(root_pem=pem))
        assert await graph.post("106", TOKEN, b"{}", deadline_s=DEADLINE_S) == expected
        assert len(server.requests) == read
        await graph.aclose()


async def test_warming_up_fails_alone_and_leaves_nothing() -> None:
    engine, tasks = Engine(), asyncio.all_tasks()
    await engine.warm_up()
    assert asyncio.all_tasks() == tasks
    await engine.aclose()

"""The webhook endpoint over real sockets: who is let in, what is answered, and what is remembered as missed."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from dispatcher import Dispatcher
from dispatcher.api.run import Timeouts
from dispatcher.api.webhook_endpoint import BODY_BYTES_MAX
from dispatcher.store.embedded import Server
from tests.api.conftest import TOKEN, Running, message, running
from tests.api.meta import SECRET, WEBHOOKS, signature, signed, status, webhook
from tests.cell import eventually
from tests.servers import PATIENCE_S

BODY = webhook([status("k1")])


async def raw(api: Running, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Send bytes as they are, with pauses between; all that is answered until the other side closes or falls silent."""
    reader, writer = await asyncio.open_connection(*api.address)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause_s)
        return await asyncio.wait_for(reader.read(100_000), PATIENCE_S)
    finally:
        writer.close()


async def cut_off(api: Running, *parts: bytes, pause_s: float) -> bool:
    """Whether the connection was closed without a word."""
    try:
        return await raw(api, *parts, pause_s=pause_s) == b""
    except ConnectionError:
        return True


def head(*lines: str) -> bytes:
    return "\r\n".join((f"POST {WEBHOOKS} HTTP/1.1", "Host: x", *lines, "", "")).encode()


# verification


async def verify(api: Running, **query: str) -> tuple[int, str, str]:
    answer = await api.http.get(WEBHOOKS, params={f"hub.{name}": value for name, value in query.items()})
    return answer.status_code, answer.text, answer.headers["content-type"]


async def test_meta_is_answered_with_its_challenge(api: Running) -> None:
    given = {"mode": "subscribe", "verify_token": TOKEN, "challenge": "1158201444"}
    assert await verify(api, **given) == (200, "1158201444", "text/plain; charset=utf-8")


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"mode": "subscribe", "challenge": "1"},
        {"mode": "subscribe", "verify_token": "open-sesamE", "challenge": "1"},
        {"mode": "subscribe", "verify_token": "öffne dich", "challenge": "1"},
        {"mode": "unsubscribe", "verify_token": TOKEN, "challenge": "1"},
        {"mode": "subscribe", "verify_token": TOKEN, "challenge": "1" * 2000},
    ],
)
async def test_whoever_does_not_know_the_token_is_not(api: Running, query: dict[str, str]) -> None:
    assert (await verify(api, **query))[0] == 403


async def test_other_methods_and_paths_are_no_webhooks_and_nothing_is_missed(api: Running) -> None:
    await api.marks_a_gap_after(1)
    before = await api.gap()
    found = [
        (await api.http.put(WEBHOOKS)).status_code,
        (await api.http.head(WEBHOOKS)).status_code,
        (await api.http.post(f"{WEBHOOKS}/")).status_code,
        (await api.http.get("/")).status_code,
    ]
    assert found == [405, 405, 404, 404]
    await api.beats_again()
    assert await api.gap() == before


# signatures


@pytest.mark.parametrize("secret", ["older", SECRET])
async def test_each_of_the_secrets_signs(api: Running, secret: str) -> None:
    assert await api.post(BODY, {"x-hub-signature-256": signature(BODY, secret)}) == 200


GOOD = signature(BODY)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "sha256=",
        GOOD[:-1],
        GOOD + "0",
        GOOD.removeprefix("sha256="),
        GOOD.replace("sha256", "sha1"),
        GOOD.upper(),
        f"{GOOD}, {GOOD}",
        signature(BODY, "guess"),
        signature(BODY + b" "),
        "sha256=" + "é" * 64,
    ],
)
async def test_what_meta_did_not_sign_is_turned_away(api: Running, header: str | None) -> None:
    lines = [f"Content-Length: {len(BODY)}", "Connection: close"]
    if header is not None:
        lines.append(f"X-Hub-Signature-256: {header}")
    before = await api.now()
    answer = await raw(api, head(*lines) + BODY)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert await api.redis.xlen(f"{api.prefix}webhooks") == 0
    await api.marks_a_gap_after(before)
    assert api.value("dispatcher_webhook_requests_total", outcome="unsigned") == 1


async def test_two_signatures_are_none(api: Running) -> None:
    lines = (f"Content-Length: {len(BODY)}", f"X-Hub-Signature-256: {GOOD}", f"X-Hub-Signature-256: {GOOD}")
    assert (await raw(api, head(*lines, "Connection: close") + BODY)).startswith(b"HTTP/1.1 401 ")


# bodies


async def test_a_body_of_three_megabytes_is_taken(api: Running) -> None:
    body = BODY + b" " * (BODY_BYTES_MAX - len(BODY))
    assert await api.post(body) == 200
    await api.works_off_all()


async def test_a_byte_more_is_too_much(api: Running) -> None:
    before = await api.now()
    assert await api.post(BODY + b" " * (BODY_BYTES_MAX + 1 - len(BODY))) == 413
    await api.marks_a_gap_after(before)
    assert await api.post(BODY) == 200


async def chunks(total: int) -> AsyncIterator[bytes]:
    for _ in range(total // 65_536):
        yield b" " * 65_536


@pytest.mark.parametrize("megabytes", [4, 5])
async def test_too_much_is_noticed_without_a_length(api: Running, megabytes: int) -> None:
    answer = await api.http.post(WEBHOOKS, content=chunks(megabytes << 20), headers={"x-hub-signature-256": GOOD})
    assert answer.status_code == 413


async def test_a_body_without_end_is_cut_off(api: Running) -> None:
    _, writer = await asyncio.open_connection(*api.address)
    writer.write(head("Transfer-Encoding: chunked"))
    with pytest.raises(ConnectionError):  # noqa: PT012
        while True:
            writer.write(b"10000\r\n" + b" " * 65_536 + b"\r\n")
            await writer.drain()
    writer.close()
    await eventually(lambda: counted(api, "too_large"))


async def counted(api: Running, outcome: str) -> bool:
    return api.value("dispatcher_webhook_requests_total", outcome=outcome) == 1


async def test_a_chunked_body_is_taken(api: Running) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, len(BODY), 7):
            yield BODY[start : start + 7]

    answer = await api.http.post(WEBHOOKS, content=parts(), headers=signed(BODY))
    assert answer.status_code == 200


async def test_a_length_that_promises_less_is_believed(api: Running) -> None:
    """What is behind it is taken for another request, and is none."""
    lines = ("Content-Length: 10", f"X-Hub-Signature-256: {signature(BODY[:10])}")
    answer = await raw(api, head(*lines) + BODY)
    assert answer.startswith(b"HTTP/1.1 400 ") or answer.startswith(b"HTTP/1.1 200 ")
    entries = [fields for _, fields in await api.redis.xrange(f"{api.prefix}webhooks")]
    assert all(fields[b"body"] == BODY[:10] for fields in entries)


async def test_a_length_that_promises_more_is_waited_for_and_marked(server: Server, redis: Redis) -> None:
    async with running(server.url, timeouts=Timeouts(body_s=0.2)) as api:
        before = await api.now()
        answer = await raw(api, head(f"Content-Length: {len(BODY) + 1}", f"X-Hub-Signature-256: {GOOD}") + BODY)
        assert answer.startswith(b"HTTP/1.1 408 ")
        await api.marks_a_gap_after(before)


async def test_a_sender_that_hangs_up_is_marked(api: Running) -> None:
    before = await api.now()
    _, writer = await asyncio.open_connection(*api.address)
    writer.write(head("Content-Length: 1000") + b"{")
    await writer.drain()
    writer.close()
    await api.marks_a_gap_after(before)
    assert api.value("dispatcher_webhook_requests_total", outcome="gone") == 1


async def test_a_head_that_drips_is_cut_off(server: Server, redis: Redis) -> None:
    async with running(server.url, timeouts=Timeouts(head_s=0.3)) as api:
        drips = [bytes([byte]) for byte in head()[:20]]
        assert await cut_off(api, *drips, pause_s=0.05)
        assert await raw(api, b"") == b""
        # and so is a second one on a kept connection
        first = head(f"Content-Length: {len(BODY)}", f"X-Hub-Signature-256: {GOOD}") + BODY
        answer = await raw(api, first, b"POST /web", pause_s=0.1)
        assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_head_without_end_is_cut_off(api: Running) -> None:
    line = b"X-Filler: " + b"x" * 8000 + b"\r\n"
    assert await cut_off(api, head()[:-2], *[line] * 20, pause_s=0.01)
    assert await api.post(BODY) == 200


async def test_deep_nesting_is_stored_and_kept_aside_later(api: Running) -> None:
    body = b'{"object":' + b"[" * 1_000_000
    assert await api.post(body) == 200
    await api.works_off_all()
    (row,) = await api.redis.lrange(f"{api.prefix}unreadable", 0, -1)
    assert json.loads(row)["raw"].startswith('{"object":[[[')
    assert api.value("dispatcher_webhook_updates_total", kind="unreadable") == 1


async def test_a_thousand_updates_are_one_body(api: Running, client: Dispatcher) -> None:
    keys = [f"k{i}" for i in range(1000)]
    async for ticket in client.send_many(message(key) for key in keys):
        assert ticket.error is None
    assert await api.post(webhook([status(key) for key in keys])) == 200
    await api.works_off_all()
    states = {(await client.status(key)).state for key in (keys[0], keys[500], keys[-1])}  # type: ignore[union-attr]
    assert states == {"sent"}
    assert api.value("dispatcher_receipts_total", status="sent", category="unknown", billable="unknown") == 1000


async def test_the_same_body_again_changes_nothing(api: Running, client: Dispatcher) -> None:
    await client.send(message("k1"))
    for _ in range(3):
        assert await api.post(BODY) == 200
    await api.works_off_all()
    assert api.value("dispatcher_webhook_updates_total", kind="receipt") == 3
    assert api.value("dispatcher_receipts_total", status="sent", category="unknown", billable="unknown") == 1

"""How many updates a second one API process takes in and works off, and how long its answers take.

`python -m tests.api.measure` runs an embedded server, one `dispatcher api` on a core of its own, and Meta's side here.
"""

import asyncio
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis

from dispatcher import Dispatcher
from dispatcher.store import schema
from dispatcher.store.embedded import Server
from tests.api.meta import NUMBER, WABA, WEBHOOKS, api_process, pinned, signature, status, webhook
from tests.store.cell import publish, published

STATUSES = ("sent", "delivered", "read")
CELL = "measure"


@dataclass(frozen=True)
class Found:
    """Figures of one run; the rate counts until all was worked off."""

    updates: int
    bodies: int
    updates_per_s: float
    stored_per_s: float
    answer_p50_ms: float
    answer_p99_ms: float
    answer_max_ms: float


async def measure(server: Server, *, updates: int, a_body: int, per_s: float | None, connections: int = 32) -> Found:
    """Send receipts of messages of ours, as fast as they are answered or at a rate, and wait for them to be applied."""
    prefix = schema.Cell(CELL).prefix
    folder = Path(tempfile.mkdtemp())
    async with Redis.from_url(server.url, protocol=2) as redis:
        await redis.flushall()
        await _enqueue(server.url, redis, updates // len(STATUSES))
        requests = list(_requests(updates, a_body))
        with pinned(1):
            running = api_process(server.url, CELL, folder / "log")
            api = await running.__aenter__()
        try:
            host, port = api.url.removeprefix("http://").split(":")
            began = time.perf_counter()
            times = await _post_all((host, int(port)), requests, connections, per_s and per_s / a_body)
            stored_s = time.perf_counter() - began
            while await redis.xlen(f"{prefix}webhooks"):
                await asyncio.sleep(0.005)
            worked_s = time.perf_counter() - began
        finally:
            await running.__aexit__(None, None, None)
        read = sum([value == b"1r" async for value in _records(redis, prefix)])
        assert read == updates // len(STATUSES), f"{read} messages were read"
    times.sort()
    at = [times[min(len(times) - 1, int(len(times) * share))] * 1000 for share in (0.5, 0.99, 1.0)]
    return Found(updates, len(requests), updates / worked_s, updates / stored_s, *(round(ms, 2) for ms in at))


async def _enqueue(url: str, redis: Redis, count: int) -> None:
    await publish(redis, CELL, published(NUMBER, "otp", 80.0, WABA))
    content = {"type": "text", "text": {"body": "hello"}}
    async with Dispatcher.connect(url, cell=CELL) as client:
        given = ({"number": NUMBER, "to": "+15551234567", "key": f"k{i}", "content": content} for i in range(count))
        async for ticket in client.send_many(given):
            assert ticket.error is None


async def _records(redis: Redis, prefix: str):  # type: ignore[no-untyped-def]  # an iterator of bytes
    async for key in redis.scan_iter(f"{prefix}msg:*", count=1000):
        if await redis.type(key) == b"string":
            yield (await redis.get(key)).split(b"\t")[0]


def _requests(updates: int, a_body: int) -> Iterator[bytes]:
    rows = [status(f"k{i}", word) for i in range(updates // len(STATUSES)) for word in STATUSES]
    for start in range(0, len(rows), a_body):
        body = webhook(rows[start : start + a_body])
        head = (
            f"POST {WEBHOOKS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"X-Hub-Signature-256: {signature(body)}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        yield head.encode() + body


async def _post_all(
    address: tuple[str, int], requests: list[bytes], connections: int, per_s: float | None
) -> list[float]:
    numbered, began, times = itertools.count(), time.perf_counter(), []

    async def work() -> None:
        reader, writer = await asyncio.open_connection(*address)
        for place in iter(lambda: next(numbered), None):
            if place >= len(requests):
                break
            if per_s:
                await asyncio.sleep(max(0.0, began + place / per_s - time.perf_counter()))
            asked = time.perf_counter()
            writer.write(requests[place])
            head = await reader.readuntil(b"\r\n\r\n")
            times.append(time.perf_counter() - asked)
            assert head.startswith(b"HTTP/1.1 200"), head
        writer.close()

    await asyncio.gather(*(work() for _ in range(connections)))
    return times


async def main() -> None:
    with pinned(0), Server() as server:
        os.sched_setaffinity(0, {0}) if hasattr(os, "sched_setaffinity") else None
        for name, how in (
            ("single updates, as fast as possible", {"updates": 15_000, "a_body": 1, "per_s": None}),
            ("100 updates a body, as fast as possible", {"updates": 30_000, "a_body": 100, "per_s": None}),
            ("1,000 updates a body, as fast as possible", {"updates": 30_000, "a_body": 1000, "per_s": None}),
            ("300 single updates a second", {"updates": 3_000, "a_body": 1, "per_s": 300.0}),
        ):
            found = await measure(server, **how)
            print(json.dumps({"run": name, **found.__dict__}))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

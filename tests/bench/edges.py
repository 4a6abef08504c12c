"""How fast what stands around the worker is: webhook endpoint and worker, exporter, simulator, a take among many."""

import asyncio
import itertools
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import generate_latest
from redis.asyncio import Redis

from dispatcher import Dispatcher
from dispatcher.exporter.log import ExporterLog
from dispatcher.exporter.run import assembled
from dispatcher.lab.deployment import WEBHOOK_PATH, start_api, url_of
from dispatcher.meta.webhook import read
from dispatcher.settings import Settings
from dispatcher.store.embedded import Server
from dispatcher.store.schema import Cell
from tests.api.meta import NUMBER, SECRET, WABA, pinned, signature, status, webhook
from tests.bench.cloud import cloud
from tests.bench.harness import TOKEN, UNPACED_PER_S, percentile
from tests.store.cell import publish, published

Say = Callable[[str], None]
Row = dict[str, Any]

STATUSES = ("sent", "delivered", "read")
CELL = Cell("edges")
CONNECTIONS = 32
NUMBERS = 10_000


@dataclass(frozen=True, slots=True)
class Plan:
    """How many updates and POSTs are sent as fast as it goes, how many numbers a cell has, and how often is repeated."""

    updates: int = 15_000
    numbers: int = NUMBERS
    repeated: int = 5


async def measure(say: Say, plan: Plan) -> list[Row]:
    """One row a figure; `least` or `most` is its aim."""
    rows: list[Row] = []

    def found(what: str, figure: float, unit: str, **aim: float) -> None:
        rows.append({"what": what, "figure": round(figure, 2), "unit": unit, **aim})
        say(f"edges, {what}: {figure:.1f} {unit}")

    with Server() as server:
        for a_body, least in ((1, 500.0), (100, 5_000.0)):
            taken = await webhooks(server, updates=plan.updates, a_body=a_body, per_s=None)
            found(f"webhooks, {a_body} updates a body, worked off", taken.updates_per_s, "updates/s", least=least)
        steady = await webhooks(server, updates=plan.updates // 5, a_body=1, per_s=300.0)
        found("webhooks, 300 a second, p99 of an answer", steady.answer_p99_ms, "ms", most=100.0)
        scrape_s = await scrape(server, plan.numbers, plan.repeated)
        found(f"exporter, a scrape of {plan.numbers} numbers", scrape_s * 1000, "ms", most=1_000.0)
    found("reading a body of 1,000 updates", reading(plan.repeated) * 1000, "ms", most=50.0)
    found("simulator, instant answers", await simulator(plan.updates), "POSTs/s", least=2_000.0)
    return rows


@dataclass(frozen=True)
class Taken:
    """What came of webhooks; the rate counts until all was worked off."""

    updates_per_s: float
    answer_p99_ms: float


async def webhooks(server: Server, *, updates: int, a_body: int, per_s: float | None) -> Taken:
    """Send receipts of messages of ours, as fast as they are answered or at a rate, and wait for them to be applied."""
    messages = updates // len(STATUSES)
    async with Redis.from_url(server.url, protocol=2) as redis:
        await redis.flushall()
        await _enqueue(server.url, redis, messages)
        requests = list(_requests(updates, a_body))
        async with _door(server) as (host, port):
            began = time.perf_counter()
            times = await _post_all((host, port), requests, per_s and per_s / a_body)
            while await redis.xlen(CELL.key("webhooks")):
                await asyncio.sleep(0.005)
            worked_s = time.perf_counter() - began
        found = await _read(server.url, messages)
        if found != messages:
            raise RuntimeError(f"{found} messages were read of {messages}")
    return Taken(updates / worked_s, round(percentile(times, 0.99) * 1000, 2))


@asynccontextmanager
async def _door(server: Server) -> AsyncIterator[tuple[str, int]]:
    """Run an API process, on a core of its own where the system can."""
    settings = {"REDIS_URL": server.url, "CELL": CELL.name, "APP_SECRETS": SECRET}
    with tempfile.TemporaryDirectory(prefix="dispatcher-bench-") as folder:
        with pinned(1):
            api = start_api("api", Path(folder), settings)
        with api:
            host, port = (await url_of(api)).removeprefix("http://").split(":")
            yield host, int(port)


async def _enqueue(url: str, redis: Redis, count: int) -> None:
    await publish(redis, CELL.name, published(NUMBER, "otp", 80.0, WABA))
    content = {"type": "text", "text": {"body": "hello"}}
    async with Dispatcher.connect(url, cell=CELL.name, timeout_s=30) as client:
        given = ({"number": NUMBER, "to": "+15551234567", "key": f"k{i}", "content": content} for i in range(count))
        async for ticket in client.send_many(given):
            if ticket.error:
                raise ticket.error


async def _read(url: str, count: int) -> int:
    async with Dispatcher.connect(url, cell=CELL.name, timeout_s=30) as client:
        found = [await client.status(f"k{i}") for i in range(count)]
    return sum(record is not None and record.state == "read" for record in found)


def _requests(updates: int, a_body: int) -> Iterator[bytes]:
    rows = [status(f"k{i}", word) for i in range(updates // len(STATUSES)) for word in STATUSES]
    for start in range(0, len(rows), a_body):
        body = webhook(rows[start : start + a_body])
        yield _head(WEBHOOK_PATH, body, f"X-Hub-Signature-256: {signature(body)}") + body


def _head(path: str, body: bytes, *lines: str) -> bytes:
    head = (f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *lines)
    return "\r\n".join((*head, f"Content-Length: {len(body)}", "", "")).encode()


async def _post_all(address: tuple[str, int], requests: list[bytes], per_s: float | None) -> list[float]:
    """Send all over some connections; how long each answer took, in seconds."""
    numbered, began, times = itertools.count(), time.perf_counter(), list[float]()

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
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode())
            (length,) = (line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length))
        writer.close()

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
    return times


async def scrape(server: Server, numbers: int, repeated: int) -> float:
    """Scrape an exporter within this process; the quickest, in seconds."""
    async with Redis.from_url(server.url, protocol=2) as redis:
        await redis.flushall()
        await publish(redis, "main", *(published(str(1000 + n), f"n{n}", 80.0, WABA) for n in range(numbers)))
    took_s = []
    for _ in range(repeated):
        with assembled(Settings(redis_url=server.url), ExporterLog("exporter"), timeout_s=30.0) as metrics:
            began = time.perf_counter()
            await asyncio.to_thread(generate_latest, metrics.registry)
            took_s.append(time.perf_counter() - began)
    return min(took_s)


def reading(repeated: int) -> float:
    """Read a large body; the quickest, in seconds."""
    body = webhook([status(f"k{i}", "failed", errors=[{"code": 1, "title": "x"}]) for i in range(1000)])
    took_s = []
    for _ in range(repeated):
        began = time.perf_counter()
        list(read(body))
        took_s.append(time.perf_counter() - began)
    return min(took_s)


async def simulator(posts: int) -> float:
    """Post as fast as it answers; POSTs a second. A simulator that is slower than what it judges would judge itself."""
    body = b'{"messaging_product":"whatsapp","to":"+15551234567","type":"text","text":{"body":"Hello"}}'
    request = _head(f"/v25.0/{NUMBER}/messages", body, f"Authorization: Bearer {TOKEN}") + body
    with tempfile.TemporaryDirectory(prefix="dispatcher-bench-") as folder:
        async with cloud(Path(folder), rate=UNPACED_PER_S, latency_ms=0, token=TOKEN) as found:
            host, port = found.url.removeprefix("http://").split(":")
            began = time.perf_counter()
            await _post_all((host, int(port)), [request] * posts, None)
            return posts / (time.perf_counter() - began)

"""The processes of a cell as they run in production, each with its metrics on a port, and traffic of every kind."""

import asyncio
import contextlib
import itertools
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings

from dispatcher.simulator import AnswerRule, Faults
from tests.cell import OTP, SHOP, WABA, Cell
from tests.crash.doors import SECRET
from tests.crash.workers import environment
from tests.servers import free_ports

FAULTS = Faults(seed=4, reset_after=0.03, reset_before=0.02, error_5xx=0.02, close_before=0.02)
WEBHOOKS = {"sent_ms": 20, "delivered_ms": 60, "read_ms": 100, "jitter_ms": 50, "failed": 0.05}


@contextlib.asynccontextmanager
async def processes(cell: Cell, forward_url: str) -> AsyncIterator[dict[str, list[int]]]:
    """Run two workers, a door and an exporter; yields their metrics ports by job."""
    ports = free_ports(4)
    given = {"APP_SECRETS": SECRET, "WEBHOOK_FORWARD_URLS": forward_url}
    started = [
        _start(cell, ports[0], "worker"),
        _start(cell, ports[1], "worker"),
        _start(cell, ports[2], "exporter"),
    ]
    door = _start(cell, ports[3], "api", "--port", "0", "--json", **given)
    try:
        assert door.stdout is not None
        said = await asyncio.to_thread(door.stdout.readline)
        assert said, f"the door says nothing: {_log(cell, 'api', ports[3]).read_text()}"
        url = f"{json.loads(said)['url']}/webhooks/whatsapp"
        cell.simulator.webhooks.change(url=url, secret=SECRET, **WEBHOOKS)
        yield {"dispatcher-worker": ports[:2], "dispatcher-exporter": ports[2:3], "dispatcher-api": ports[3:]}
        for process in (*started, door):
            assert process.poll() is None, "a process ended"
    finally:
        cell.simulator.webhooks.change(url=None)
        for process in (*started, door):
            process.kill()
            process.wait()
        if door.stdout is not None:
            door.stdout.close()


def _start(cell: Cell, port: int, command: str, *options: str, **given: str) -> "subprocess.Popen[bytes]":
    set_up = environment(cell) | {f"DISPATCHER_{name}": value for name, value in given.items()}
    set_up["DISPATCHER_METRICS_PORT"] = str(port)
    with _log(cell, command, port).open("wb") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "dispatcher", command, *options],
            env=set_up,
            stdout=subprocess.PIPE if command == "api" else errors,
            stderr=errors,
        )


def _log(cell: Cell, command: str, port: int) -> Path:
    return cell.numbers_file.parent / f"{command}-{port}.log"


@contextlib.asynccontextmanager
async def listener() -> AsyncIterator[str]:
    """Another program with a webhook, which takes whatever is passed on; yields its URL."""

    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
            await reader.readexactly(int(fields[b"content-length"]))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.create_task(serve(reader, writer)))

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    finally:
        server.close()
        # whoever asked is dead by now, so that each of them ends
        await asyncio.gather(*serving)


@contextlib.asynccontextmanager
async def traffic(cell: Cell) -> AsyncIterator[None]:
    """Send what a living system sends, with its troubles, until the end."""
    await _campaign(cell, "autumn", OTP, 4000)
    await _campaign(cell, "winter", SHOP, 500)
    for scope in ("campaign:winter", f"template:{WABA}:spring"):
        await _dispatcher(cell, "stops", "add", scope, "--reason", "a test")
    cell.simulator.faults = FAULTS
    tasks = [asyncio.create_task(work) for work in (_trickle(cell), _troubles(cell), _jobs(cell), _read(cell))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        failed = [one for one in ended if isinstance(one, Exception)]
        if failed:
            raise ExceptionGroup("traffic", failed)


async def _campaign(cell: Cell, name: str, number: str, count: int) -> None:
    messages = (
        cell.message(f"{name}-{place}", number=number, to=f"+1555{place:07d}", priority="bulk", campaign=name)
        for place in range(count)
    )
    async for ticket in cell.client.send_many(messages):
        assert ticket.error is None, ticket.error


async def _trickle(cell: Cell) -> None:
    """One-time passwords and notices on both numbers."""
    for place in itertools.count():
        number, priority = (OTP, SHOP)[place % 2], ("urgent", "normal")[place // 2 % 2]
        await cell.send(f"trickle-{place}", number=number, to=f"+1556{place:07d}", priority=priority)
        await asyncio.sleep(0.05)


async def _troubles(cell: Cell) -> None:
    """A number that is throttled all the time, stops, and now and then a refusal, a lost answer and a word of people."""
    cell.simulator.rules.add(AnswerRule(code=130429, number=SHOP))
    for place in itertools.count():
        cell.simulator.rules.add(AnswerRule(code=131026, number=OTP, count=1))
        cell.simulator.rules.add(AnswerRule(fault="reset_before", to=f"+1557{place:07d}", count=1))
        await cell.send(f"lost-{place}", to=f"+1557{place:07d}", priority="urgent")
        await _write(cell, place)
        await asyncio.sleep(2)


async def _write(cell: Cell, place: int) -> None:
    """Somebody writes to us; handed in as a callback of one's own would."""
    text = {"from": "15551230000", "id": f"wamid.in-{place}", "timestamp": "1", "type": "text", "text": {"body": "hi"}}
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550783881", "phone_number_id": OTP},
        "messages": [text],
    }
    await cell.client.receive({
        "object": "whatsapp_business_account",
        "entry": [{"id": WABA, "changes": [{"field": "messages", "value": value}]}],
    })  # fmt: skip


async def _jobs(cell: Cell) -> None:
    """An arq producer, which also writes what cannot be read."""
    pool = await create_pool(
        RedisSettings.from_dsn(cell.settings.redis_url.get_secret_value()),
        job_serializer=lambda job: json.dumps(job).encode(),
        job_deserializer=json.loads,
        default_queue_name=f"dispatcher:{cell.settings.cell}:send",
    )
    try:
        for place in itertools.count():
            await pool.enqueue_job("send", cell.message(f"job-{place}"))
            await pool.enqueue_job("send", {"nonsense": place})
            await asyncio.sleep(1)
    finally:
        await pool.aclose(close_connection_pool=True)


async def _read(cell: Cell) -> None:
    """A consumer group that is slow."""
    async for _ in cell.client.events("crm"):
        await asyncio.sleep(0.5)


async def _dispatcher(cell: Cell, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "dispatcher", *arguments, env=environment(cell), stdout=subprocess.DEVNULL
    )
    assert await process.wait() == 0, arguments


def settings() -> dict[str, Any]:
    """Times that are short enough to wait for."""
    return {"uncertain_window_s": 2.0, "uncertain_window_urgent_s": 1.0}

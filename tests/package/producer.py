"""Runs in a producer's environment, where there is nothing but the installed client; says what it saw as JSON.

Started with a scenario, the URL of a server, and options; it must not import anything of the tests.
"""

import asyncio
import importlib.metadata
import importlib.util
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

from redis.asyncio import Redis

import dispatcher
from dispatcher import Dispatcher, KeyConflict, QueueFull, QueueUnavailable, Refused, Ticket

NUMBER = "106540352242922"
OF_EXTRAS = (
    *("aiolimiter", "arq", "httpx", "pydantic_settings", "pyreqwest", "rich", "starlette", "structlog", "typer"),
    *("uvicorn", "uvloop"),
)
TIMEOUT_S = 1.5


def message(key: str | None, body: str = "Hello", **fields: Any) -> dict[str, Any]:
    content = {"type": "text", "text": {"body": body}}
    return {"number": "otp-us", "to": "+15551234567", "key": key, "content": content, **fields}


def told(ticket: Ticket) -> list[Any]:
    return [ticket.key, ticket.state, ticket.duplicate, type(ticket.error).__name__ if ticket.error else None]


async def bare(url: str) -> Any:
    """Name what is installed, and what is not but could be imported all the same."""
    return {
        "redis": importlib.metadata.version("redis").split(".")[0],
        "from": os.path.relpath(dispatcher.__file__, sys.prefix).split(os.sep)[-3:],
        "importable": [name for name in OF_EXTRAS if importlib.util.find_spec(name)],
    }


async def send(url: str) -> Any:
    """Do all that a producer does."""
    async with Dispatcher.connect(url) as d:
        made = await d.send(message(None))
        found = [told(await d.send(message("k1"))), told(await d.send(message("k1")))]
        try:
            await d.send(message("k1", "Bye"))
        except KeyConflict as exc:
            found.append(["KeyConflict", exc.field, exc.key])
        try:
            await d.send(message("k2", number="otp-uk"))
        except Refused as exc:
            found.append([type(exc).__name__, exc.field, exc.key])
        many = [message("k1"), message("k3"), message("k4", to="12"), *(message(f"m{i}") for i in range(200))]
        tickets = [told(ticket) async for ticket in d.send_many(many)]
        record = await d.status("k1")
        assert record is not None
        return {
            "made": len(made.key),
            "sent": found,
            "many": tickets[:4],
            "queued": sum(ticket[1:3] == ["queued", False] for ticket in tickets),
            "status": [record.state, record.number, record.recipient, await d.status("unknown")],
            "cancel": [await d.cancel("k1"), await d.cancel("k1"), await d.cancel("unknown")],
        }


async def lose(url: str) -> Any:
    """Send two messages; the way to the server loses the answer to the second."""
    async with Dispatcher.connect(url, timeout_s=TIMEOUT_S) as d:
        await d.send(message("k1"))
        try:
            return told(await d.send(message("k2")))
        except QueueUnavailable as exc:
            return [type(exc).__name__, exc.key]


async def drop(url: str) -> Any:
    """Send a message whose connection is killed while the server is at it."""
    async with Dispatcher.connect(url) as d, Redis.from_url(url, protocol=2) as admin:
        await d.send(message("k1"))
        await admin.execute_command("CLIENT", "PAUSE", "600000", "WRITE")
        sending = asyncio.create_task(d.send(message("k2")))
        while b" flags=b " not in await admin.execute_command("CLIENT", "LIST", "TYPE", "normal", **RAW):
            await asyncio.sleep(0)
        killed = await admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await admin.execute_command("CLIENT", "UNPAUSE")
        return [killed, told(await sending)]


async def harm(url: str, pid: int, how: str) -> Any:
    """Send a message to a server that is killed, or hangs."""
    async with Dispatcher.connect(url) as d:
        await d.send(message("k1"))
        os.kill(pid, signal.Signals[how])
        try:
            return told(await d.send(message("k2")))
        except QueueUnavailable as exc:
            return [type(exc).__name__, exc.key]


async def fill(url: str) -> Any:
    """Send to a server that has no room."""
    found: list[Any] = []
    async with Dispatcher.connect(url) as d:
        for priority in ("normal", "urgent"):
            try:
                await d.send(message("k1", priority=priority))
            except QueueFull as exc:
                found.append([type(exc).__name__, exc.key])
        many = [message("k2", priority="urgent"), message("k3")]
        return [*found, *[told(ticket) async for ticket in d.send_many(many)], await d.status("k1")]


async def consume(url: str) -> Any:
    """Read the events of two cancelled messages: one consumer leaves the second to the next; then hand in a webhook."""
    async with Dispatcher.connect(url) as d:
        for key in ("k1", "k2"):
            await d.send(message(key, callback_data=f"of {key}"))
            await d.cancel(key)
        found: list[Any] = []
        for name in ("a", "a", "b"):
            async with aclosing(d.events(group="crm", consumer=name, idle_s=0.1)) as events:
                async for event in events:
                    found.append([event.type, event.key, event.callback_data])
                    if event.key == "k2":
                        break
            await asyncio.sleep(0.2)
        await d.receive({"entry": []})
        return [found, [(lag.stream, lag.group, lag.waiting) for lag in await d.lags()]]


RAW: dict[str, Any] = {"NEVER_DECODE": True}
SCENARIOS: dict[str, Callable[..., Awaitable[Any]]] = {
    "bare": bare,
    "send": send,
    "lose": lose,
    "drop": drop,
    "harm": harm,
    "fill": fill,
    "consume": consume,
}

if __name__ == "__main__":
    _, scenario, address, options = sys.argv
    print(json.dumps(asyncio.run(SCENARIOS[scenario](address, **json.loads(options)))))  # type: ignore[arg-type]  # awaitable

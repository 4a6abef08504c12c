"""A receiver of webhooks on a real socket, which judges by itself: HTTP by hand, signatures by hmac."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.servers import PATIENCE_S

SECRET = "app-secret"
WAIT_S = PATIENCE_S


@dataclass(frozen=True)
class Arrival:
    """One request as it came."""

    head: str
    body: bytes
    at_s: float

    @property
    def fields(self) -> dict[str, str]:
        pairs = (line.partition(": ") for line in self.head.split("\r\n")[1:] if line)
        return {name.lower(): value for name, _, value in pairs}

    @property
    def is_signed(self) -> bool:
        wanted = hmac.new(SECRET.encode(), self.body, hashlib.sha256).hexdigest()
        return self.fields.get("x-hub-signature-256") == f"sha256={wanted}"

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.head.split(" ")[1]).query)


@dataclass
class Receiver:
    """Answers each request with the next of `statuses`, then with 200; 0 breaks the connection, -1 hangs."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    challenge: Callable[[str], str] = str
    keeps_alive: bool = True
    arrivals: list[Arrival] = field(default_factory=list)
    connection_count: int = 0
    _came: asyncio.Condition = field(default_factory=asyncio.Condition)
    _hanging: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def posts(self) -> list[Arrival]:
        return [arrival for arrival in self.arrivals if arrival.head.startswith("POST ")]

    @property
    def changes(self) -> list[dict[str, Any]]:
        entries = [entry for post in self.posts for entry in json.loads(post.body)["entry"]]
        return [change for entry in entries for change in entry["changes"]]

    @property
    def status_objects(self) -> list[dict[str, Any]]:
        return [status for change in self.changes for status in change["value"].get("statuses", [])]

    @property
    def kinds(self) -> list[str]:
        return [status["status"] for status in self.status_objects]

    async def until(self, count: int) -> None:
        """Wait until so many POSTs have come."""
        async with asyncio.timeout(WAIT_S), self._came:
            await self._came.wait_for(lambda: len(self.posts) >= count)

    def let_go(self) -> None:
        self._hanging.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connection_count += 1
        try:
            while await self._serve_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        bare = Arrival(head, b"", 0)
        body = await reader.readexactly(int(bare.fields.get("content-length", 0)))
        arrival = Arrival(head, body, asyncio.get_running_loop().time())
        status = self.statuses.pop(0) if self.statuses else 200
        async with self._came:
            self.arrivals.append(arrival)
            self._came.notify_all()
        if status == -1:
            await self._hanging.wait()
        if status < 1:
            return False
        answer = self.challenge(arrival.query["hub.challenge"][0]).encode() if head.startswith("GET ") else b"ok"
        writer.write(b"HTTP/1.1 %d Said\r\nContent-Length: %d\r\n\r\n%b" % (status, len(answer), answer))
        await writer.drain()
        return self.keeps_alive

    async def close(self) -> None:
        self.let_go()
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/webhook"
    try:
        yield receiver
    finally:
        server.close()
        await receiver.close()
        await server.wait_closed()

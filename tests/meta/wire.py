"""Servers at the wire for these tests: each plays a script to a connection and counts the requests it read in full."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

ACCEPTED = b'{"messages":[{"id":"wamid.1"}]}'


def http(body: bytes, status: str = "200 OK", headers: str = "", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n{headers}\r\n".encode() + body


@dataclass
class Line:
    """One connection, seen from the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    server: "Server"

    async def read(self) -> None:
        """Read one request to its last byte, and count it."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        (length,) = (line[15:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        self.server.requests.append(head + await self.reader.readexactly(int(length)))

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Let the peer see a reset, by closing without lingering."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def hang(self) -> None:
        """Wait until the test is over."""
        await self.server.over.wait()

    async def gone(self) -> None:
        """Wait until the peer has closed."""
        while await self.reader.read(1024):
            pass


Script = Callable[[Line], Awaitable[None]]


@dataclass
class Server:
    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    lines: list[Line] = field(default_factory=list)
    plays: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def serving(script: Script, context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Run a server on a free port that plays `script` to each connection and then closes it."""
    server = Server()

    async def play(line: Line) -> None:
        try:
            await script(line)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the peer has left, which is what some of these tests are about
        finally:
            line.writer.close()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.lines.append(Line(reader, writer, server))
        server.plays.append(asyncio.ensure_future(play(server.lines[-1])))

    listener = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        server.over.set()
        listener.close()
        await listener.wait_closed()
        for line in server.lines:
            line.writer.transport.abort()
        await asyncio.gather(*server.plays)


@contextmanager
def full_backlog() -> Iterator[str]:
    """Listen on a port whose backlog is full, so that connecting to it hangs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            for sock in waiting:
                sock.close()

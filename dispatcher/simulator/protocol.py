"""HTTP/1.1 over httptools: stamps what arrives before it is parsed, and can break connections or refuse them.

Answers keep the order of their requests. Knows nothing of Graph.
"""

import asyncio
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import cast

import httptools

LINGER_ZERO = struct.pack("ii", 1, 0)
LARGEST_BODY = 1_048_576
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
BACKLOG = 4096
# Two sockets share the address, one of them never listens: macOS allows it with the first option, Linux the second.
SHARED_ADDRESS = socket.SO_REUSEPORT if sys.platform == "darwin" else socket.SO_REUSEADDR


class Request:
    """One request, and the means to answer it or to break its connection."""

    __slots__ = (
        "arrived_ns",
        "authorization",
        "body",
        "connection",
        "content_type",
        "is_ended",
        "is_last",
        "key",
        "method",
        "reply",
        "target",
    )

    def __init__(self, connection: "Connection") -> None:
        self.connection = connection
        self.arrived_ns = 0
        self.method = b""
        self.target = b""
        self.authorization: bytes | None = None
        self.content_type = b""
        self.body = b""
        # The idempotency key that it carries, once somebody has read the body.
        self.key = ""
        self.is_last = False
        self.is_ended = False
        self.reply: bytes | None = None

    def answer(self, head: bytes, body: bytes = b"", *, then_close: bool = False) -> None:
        """Send an answer, when all earlier requests of the connection have theirs.

        `head` is the status line and headers, each with its line end; an empty one sends the body as it is.
        """
        self.is_last = self.is_last or then_close
        ending = b"Connection: close\r\n\r\n" if self.is_last else b"\r\n"
        self.reply = head + ending + body if head else body
        self.connection.flush()

    def reset(self) -> None:
        """Reset the connection, at once."""
        self.connection.reset()


class Arrivals:
    """Stamps all that arrives in one turn of the loop before any of it is parsed: the work must not look like delay.

    A request counts as arrived with the bytes that complete it, so that times never go backwards.
    """

    def __init__(self) -> None:
        self._arrived: deque[tuple[Connection, int, bytes]] = deque()

    def put(self, connection: "Connection", data: bytes) -> None:
        """Take in what arrived just now."""
        self._arrived.append((connection, time.monotonic_ns(), data))
        if len(self._arrived) == 1:
            asyncio.get_running_loop().call_soon(self._parse_all)

    def _parse_all(self) -> None:
        arrived, self._arrived = self._arrived, deque()
        try:
            while arrived:
                connection, arrived_ns, data = arrived.popleft()
                connection.parse(arrived_ns, data)
        finally:
            # One connection's trouble must not lose what others sent.
            if arrived:
                self._arrived = arrived + self._arrived
                asyncio.get_running_loop().call_soon(self._parse_all)


class Connection(asyncio.Protocol):
    """One connection of a client. Requests are handled as they arrive and answered in that order."""

    def __init__(self, listener: "Listener") -> None:
        self._listener = listener
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._unanswered: deque[Request] = deque()
        self._complete: list[Request] = []
        # Nothing more is read.
        self._is_broken = False
        # The client is not there any more.
        self._is_gone = False
        self._is_too_large = False
        self._chunks: list[bytes] = []
        self._size_bytes = 0
        self._request = Request(self)

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        # A cast, since uvloop's transports are no asyncio.Transport by inheritance.
        self._transport = cast("asyncio.Transport", transport)
        self._listener.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Stamp first, parse later."""
        self._listener.arrivals.put(self, data)

    def eof_received(self) -> None:
        """The client has gone: what it asked is over at once, before the next request of another connection."""
        self._is_gone = True
        self._end_all()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason does not matter
        """The connection is gone."""
        self._transport = None
        self._is_gone = True
        self._listener.connections.discard(self)
        self._end_all()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A request begins."""
        self._request = Request(self)
        self._chunks = []
        self._size_bytes = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        self._request.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, whole."""
        name = name.lower()
        if name == b"authorization":
            self._request.authorization = value
        elif name == b"content-type":
            self._request.content_type = value
        elif name == b"expect" and self._transport is not None and not self._unanswered:
            self._transport.write(CONTINUE)

    def on_body(self, body: bytes) -> None:
        """A piece of the request's body."""
        self._size_bytes += len(body)
        self._is_too_large = self._is_too_large or self._size_bytes > LARGEST_BODY
        if not self._is_too_large:
            self._chunks.append(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._is_too_large:
            return
        request = self._request
        request.method = self._parser.get_method()
        request.body = b"".join(self._chunks)
        request.is_last = not self._parser.should_keep_alive()
        self._complete.append(request)

    # What the arrivals, the requests and the listener call.

    def parse(self, arrived_ns: int, data: bytes) -> None:
        """Take in bytes that arrived then, and hand on what they complete."""
        if self._is_broken:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse(BAD_REQUEST)
        complete, self._complete = self._complete, []
        for request in complete:
            request.arrived_ns = arrived_ns
            self._unanswered.append(request)
            self._listener.on_request(request)
            if self._is_gone:
                self._end_all()
        if self._is_too_large:
            self._refuse(TOO_LARGE)

    def flush(self) -> None:
        """Send the answers that are due, in the order of their requests."""
        while self._unanswered and self._unanswered[0].reply is not None:
            request = self._unanswered.popleft()
            if self._transport is not None and request.reply and not self._is_gone:
                self._transport.write(request.reply)
            self._end(request)
            if request.is_last:
                self._is_broken = True
                self._close()

    def reset(self) -> None:
        """Reset the connection; answers that wait on it are lost."""
        if self._transport is not None:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
            self._transport.abort()
        self._is_broken = True
        self._end_all()

    def retire(self) -> None:
        """Close as soon as all that was asked is answered."""
        if self._unanswered:
            self._unanswered[-1].is_last = True
        else:
            self._close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _refuse(self, answer: bytes) -> None:
        self._is_broken = True
        if self._transport is not None:
            self._transport.write(answer)
        self._close()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _end(self, request: Request) -> None:
        if not request.is_ended:
            request.is_ended = True
            self._listener.on_ended(request)

    def _end_all(self) -> None:
        for request in self._unanswered:
            self._end(request)
        self._unanswered.clear()


class Listener:
    """The listening socket: opens, closes so that connects are refused, and opens again on the same port.

    `on_request` gets each whole request and answers it now or later, breaks it, or leaves it hanging. `on_ended` is
    called once for each: it was answered, or its connection is gone. Use within a running event loop.
    """

    def __init__(
        self, host: str, port: int, *, on_request: Callable[[Request], None], on_ended: Callable[[Request], None]
    ) -> None:
        self.host = host
        self.port = port
        self.on_request = on_request
        self.on_ended = on_ended
        self.arrivals = Arrivals()
        self.connections: set[Connection] = set()
        self._reserved: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._reopening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Listen, on the same port as before if there was one.

        Raises:
            OSError: The port is taken.
        """
        if self._server is not None:
            return
        if self._reserved is None:
            # A bound socket that never listens keeps the port ours while connects are refused.
            self._reserved = self._bound_socket()
            self.port = self._reserved.getsockname()[1]
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), sock=self._bound_socket(), backlog=BACKLOG)

    def _bound_socket(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, SHARED_ADDRESS, 1)
            bound.bind((self.host, self.port))
        except OSError:
            bound.close()
            raise
        return bound

    def close(self) -> None:
        """Refuse connects from now on; connections are closed as soon as what they asked is answered."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for connection in tuple(self.connections):
            connection.retire()

    def close_for(self, seconds: float) -> None:
        """Close, and open again after so long."""
        self.close()
        if self._reopening is not None:
            self._reopening.cancel()
        self._reopening = asyncio.get_running_loop().create_task(self._open_after(seconds))

    async def _open_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.open()

    async def end(self) -> None:
        """Close for good, and give up the port; what is still connected is cut off."""
        self.close()
        if self._reopening is not None:
            self._reopening.cancel()
            await asyncio.gather(self._reopening, return_exceptions=True)
        for connection in tuple(self.connections):
            connection.abort()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None
        while self.connections:  # noqa: ASYNC110 - a turn or two of the loop, at the very end
            await asyncio.sleep(0)

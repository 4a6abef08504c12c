"""HTTP/1.1 over httptools: stamps what arrives, keeps answers in order, breaks connections; knows nothing of Graph."""

import asyncio
import socket
import struct
import time
from collections import deque
from typing import Protocol, cast

import httptools

LINGER_ZERO = struct.pack("ii", 1, 0)
LARGEST_BODY = 1_048_576
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Endpoint(Protocol):
    """What requests are handed to."""

    def handle(self, request: "Request") -> None:
        """A whole request is here. Answer it now or later, break it, or leave it hanging."""

    def ended(self, request: "Request") -> None:
        """The request was answered, or its connection is gone. Called once for each."""


class Request:
    """One request, and the means to answer it or to break its connection."""

    __slots__ = (
        "arrived_ns",
        "authorization",
        "body",
        "connection",
        "content_type",
        "filed_under",
        "is_ended",
        "is_last",
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
        # What the endpoint remembers this request by.
        self.filed_under = ""
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


class Inbox:
    """Stamps all that arrives in one turn of the loop before any of it is parsed: the work must not look like delay.

    A request counts as arrived with the bytes that complete it, so that times never go backwards.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._arrived: deque[tuple[Connection, int, bytes]] = deque()

    def put(self, connection: "Connection", data: bytes) -> None:
        """Take in what arrived just now."""
        self._arrived.append((connection, time.monotonic_ns(), data))
        if len(self._arrived) == 1:
            self._loop.call_soon(self._open)

    def _open(self) -> None:
        arrived, self._arrived = self._arrived, deque()
        try:
            while arrived:
                connection, arrived_ns, data = arrived.popleft()
                connection.parse(arrived_ns, data)
        finally:
            # One connection's trouble must not lose what others sent.
            if arrived:
                self._arrived = arrived + self._arrived
                self._loop.call_soon(self._open)


class Connection(asyncio.Protocol):
    """One connection of a client. Requests are handled as they arrive and answered in that order."""

    def __init__(self, endpoint: Endpoint, inbox: Inbox, connections: set["Connection"]) -> None:
        self._endpoint = endpoint
        self._inbox = inbox
        self._connections = connections
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
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Stamp first, parse later."""
        self._inbox.put(self, data)

    def eof_received(self) -> None:
        """The client has gone: what it asked is over at once, before the next request of another connection."""
        self._is_gone = True
        self._end_all()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason does not matter
        """The connection is gone."""
        self._transport = None
        self._is_gone = True
        self._connections.discard(self)
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

    # What the inbox and the requests call.

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
            self._endpoint.handle(request)
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
            self._endpoint.ended(request)

    def _end_all(self) -> None:
        for request in self._unanswered:
            self._end(request)
        self._unanswered.clear()

"""A connection to the webhook's receiver: one request at a time, HTTP/1.1 over httptools; knows nothing of Meta."""

import asyncio
from collections.abc import Mapping
from typing import NamedTuple, Self, cast
from urllib.parse import urlsplit

import httptools

LARGEST_ANSWER = 65_536


class Target(NamedTuple):
    """Where a URL points."""

    host: str
    port: int
    is_tls: bool
    path: str
    host_header: str


class Answer(NamedTuple):
    """What came back; of a large body only the beginning."""

    status: int
    body: bytes


def target_of(url: str) -> Target:
    """Take a URL apart."""
    parts = urlsplit(url)
    is_tls = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(
        parts.hostname or "", parts.port or (443 if is_tls else 80), is_tls, path, parts.netloc.rpartition("@")[2]
    )


def request(method: str, target: Target, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """A whole request."""
    fields = {"Host": target.host_header, "User-Agent": "facebookexternalua", "Accept": "*/*", **headers}
    if body:
        fields["Content-Length"] = str(len(body))
    lines = [f"{method} {target.path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Line(asyncio.Protocol):
    """One connection. `lines` holds it for as long as it is open."""

    def __init__(self, lines: set["Line"]) -> None:
        self.is_usable = False
        self._lines = lines
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._awaited: asyncio.Future[Answer] | None = None
        self._status = 0
        self._chunks: list[bytes] = []
        self._size_bytes = 0

    @classmethod
    async def to(cls, target: Target, lines: set["Line"]) -> Self:
        """Connect.

        Raises:
            OSError: There is nobody.
        """
        _, line = await asyncio.get_running_loop().create_connection(
            lambda: cls(lines), target.host, target.port, ssl=target.is_tls or None
        )
        return line

    async def ask(self, data: bytes) -> Answer:
        """Send a request and wait for its answer.

        Raises:
            ConnectionError: The connection broke, or the answer is no HTTP.
        """
        if self._transport is None or not self.is_usable:
            raise ConnectionResetError("the connection is closed")
        self.is_usable = False
        self._awaited = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._begin()
        self._transport.write(data)
        try:
            return await self._awaited
        finally:
            self._awaited = None

    def abort(self) -> None:
        """Close at once."""
        self.is_usable = False
        if self._transport is not None:
            self._transport.abort()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody is there."""
        # A cast, since uvloop's transports are no asyncio.Transport by inheritance.
        self._transport = cast("asyncio.Transport", transport)
        self._lines.add(self)
        self.is_usable = True

    def data_received(self, data: bytes) -> None:
        """A piece of an answer."""
        if self._awaited is None:
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self._fail(ConnectionError(f"no HTTP: {exc}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; an answer without a length ends with it."""
        self._transport = None
        self.is_usable = False
        self._lines.discard(self)
        if self._awaited is not None and not self._awaited.done():
            if self._status and not exc:
                self._awaited.set_result(Answer(self._status, b"".join(self._chunks)))
            else:
                self._fail(ConnectionResetError(f"the connection broke: {exc}"))

    # What the parser calls.

    def on_headers_complete(self) -> None:
        """The status is known."""
        status = self._parser.get_status_code()
        self._status = status if status >= 200 else 0

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._size_bytes += len(body)
        if self._size_bytes <= LARGEST_ANSWER:
            self._chunks.append(body)

    def on_message_complete(self) -> None:
        """The answer is whole, unless it only announces another one."""
        if not self._status:
            self._begin()
        elif self._awaited is not None and not self._awaited.done():
            self.is_usable = self._parser.should_keep_alive()
            self._awaited.set_result(Answer(self._status, b"".join(self._chunks)))

    def _begin(self) -> None:
        self._status = 0
        self._chunks = []
        self._size_bytes = 0

    def _fail(self, exc: ConnectionError) -> None:
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_exception(exc)
        self.abort()

"""The HTTP server: uvicorn, told not to wait for ever. The only module that knows it."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from dispatcher import errors
from dispatcher.settings import PREFIX

HEAD_TIMEOUT_S: Final = 10.0
HEAD_BYTES_MAX: Final = 65_536
_KEEP_ALIVE_S: Final = 75
"""Longer than proxies keep idle connections, so that none is closed while a request is on its way."""
_BACKLOG: Final = 2048
_GRACE_S: Final = 10


class HttpProtocol(HttpToolsProtocol):
    """A connection whose requests must have a head in time, and none beyond reason; uvicorn waits for ever."""

    head_timeout_s = HEAD_TIMEOUT_S
    _deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _is_in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(self.head_timeout_s, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._heard()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, unless it is a head without end."""
        self._head_bytes = self._head_bytes + len(data) if self._is_in_head else 0
        super().data_received(data)
        if self._is_in_head and self._head_bytes > HEAD_BYTES_MAX:
            self.transport.close()

    def on_message_begin(self) -> None:
        """Wait for the rest of a head."""
        super().on_message_begin()
        self._is_in_head = True
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.head_timeout_s, self.transport.close)

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._heard()
        self._is_in_head = False
        super().on_headers_complete()

    def _heard(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class HttpServer(uvicorn.Server):
    """Serves one application on a socket that listens already, and leaves signals to others."""

    def __init__(self, app: ASGIApp, listener: socket.socket, head_timeout_s: float = HEAD_TIMEOUT_S) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=type("HttpProtocol", (HttpProtocol,), {"head_timeout_s": head_timeout_s}),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        self._listener = listener

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    def stop(self) -> None:
        """Accept nothing more; `run` ends when everything is answered."""
        self.should_exit = True

    async def run_until_stopped(self) -> None:
        """Serve until stopped."""
        await self.serve([self._listener])


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; port 0 takes a free one.

    Raises:
        SettingsError: Nothing can listen there.
    """
    try:
        found: Any = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as exc:
        where = f"{PREFIX}API_HOST and {PREFIX}API_PORT"
        # Python adds the address, but not to what the resolver says
        why = exc.strerror if isinstance(exc, socket.gaierror) or exc.errno is None else os.strerror(exc.errno)
        problem = f"{where}: cannot listen on {host}:{port} ({why}); give a free port of this machine"
        raise errors.SettingsError((problem,)) from exc


def address_of(listener: socket.socket) -> str:
    """Return the URL that a socket listens at."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

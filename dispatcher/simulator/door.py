"""The listening socket: open, shut so that connects are refused, and open again on the same port."""

import asyncio
import socket
import sys

from dispatcher.simulator.protocol import Connection, Endpoint, Inbox

BACKLOG = 4096
# Two sockets share the address, one of them never listens: macOS allows it with the first option, Linux the second.
SHARE = socket.SO_REUSEPORT if sys.platform == "darwin" else socket.SO_REUSEADDR


class Door:
    """Lets clients in. Use within a running event loop."""

    def __init__(self, endpoint: Endpoint, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.connections: set[Connection] = set()
        self._endpoint = endpoint
        self._keeper: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._inbox: Inbox | None = None
        self._opening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Listen, on the same port as before if there was one.

        Raises:
            OSError: The port is taken.
        """
        if self._server is not None:
            return
        loop = asyncio.get_running_loop()
        if self._keeper is None:
            # A bound socket that never listens keeps the port ours while the door is shut.
            self._keeper = self._bound()
            self.port = self._keeper.getsockname()[1]
            self._inbox = Inbox(loop)
        listener = self._bound()
        self._server = await loop.create_server(self._connection, sock=listener, backlog=BACKLOG)

    def _bound(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, SHARE, 1)
            bound.bind((self.host, self.port))
        except OSError:
            bound.close()
            raise
        return bound

    def _connection(self) -> Connection:
        if self._inbox is None:
            raise RuntimeError("the door was never opened")
        return Connection(self._endpoint, self._inbox, self.connections)

    def shut(self) -> None:
        """Listen no more; connections are closed as soon as what they asked is answered."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for connection in tuple(self.connections):
            connection.retire()

    def shut_for(self, seconds: float) -> None:
        """Shut the door, and open it again by itself."""
        self.shut()
        if self._opening is not None:
            self._opening.cancel()
        self._opening = asyncio.get_running_loop().create_task(self._open_after(seconds))

    async def _open_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.open()

    async def close(self) -> None:
        """Shut for good, and give up the port; what is still connected is cut off."""
        self.shut()
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        for connection in tuple(self.connections):
            connection.abort()
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None
        while self.connections:  # noqa: ASYNC110 - a turn or two of the loop, at the very end
            await asyncio.sleep(0)

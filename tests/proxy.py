"""Proxies: one before Redis that swallows answers, and one before the endpoint that holds them until they are let go."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from dispatcher.store.scripts import Script


class Proxy:
    """`swallow(script)` loses the answer to the next pipeline with that script; `swallowed` counts them."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._wanted: list[bytes] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.swallowed = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def swallow(self, script: Script, count: int = 1) -> None:
        self._wanted += [script.sha.encode()] * count

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator["Proxy"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        async with _connected(writer, self._target) as (up_reader, up_writer):
            await self._forward(reader, writer, up_reader, up_writer)

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
    ) -> None:
        answering = asyncio.create_task(_pump(up_reader, writer))
        try:
            while data := await reader.read(1 << 20):
                wanted = next((sha for sha in self._wanted if sha in data), None)
                if wanted is not None:
                    self._wanted.remove(wanted)
                    answering.cancel()  # before the server can answer
                    await asyncio.gather(answering, return_exceptions=True)
                    up_writer.write(data)
                    await up_reader.read(1)  # it has run
                    self.swallowed += 1
                    return
                up_writer.write(data)
        except ConnectionError:
            pass
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)


class Holder:
    """Forwards what is posted at once, and the answers while it is `open`: what is in flight stays so until then."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._tasks: set[asyncio.Task[None]] = set()
        self.open = asyncio.Event()
        self.url = ""

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator["Holder"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        async with _connected(writer, self._target) as (up_reader, up_writer):
            asking = asyncio.create_task(_pump(reader, up_writer))
            try:
                while data := await up_reader.read(1 << 20):
                    await self.open.wait()
                    writer.write(data)
            except ConnectionError:
                pass
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)


@contextlib.asynccontextmanager
async def _connected(
    writer: asyncio.StreamWriter, target: tuple[str | None, int | None]
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to the target; both connections end with this, however far it came."""
    try:
        up_reader, up_writer = await asyncio.open_connection(*target)
        try:
            yield up_reader, up_writer
        finally:
            up_writer.transport.abort()
    finally:
        writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 20):
            writer.write(data)
        writer.close()

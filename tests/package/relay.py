"""Stands between a client and a server and loses what it is told to."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from dispatcher.store.embedded import Server


@dataclass
class Relay:
    """Passes everything on; `keys` are those of enqueued messages as they passed, each as often as it did.

    Replies to commands that name `victim` are lost, `losses` times at most: swallowed, or with the connection.
    """

    server: Server
    victim: bytes
    losses: int
    closes: bool
    port: int = 0
    passed: int = 0
    _lost: int = field(default=0, init=False)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side ends it."""
        there, away = await asyncio.open_connection("127.0.0.1", self.server.port)
        with contextlib.suppress(ConnectionError):
            while asked := await reader.read(1 << 20):
                away.write(asked)
                is_victim = self.victim in asked and b"EVALSHA" in asked
                self.passed += is_victim
                answer = await there.read(1 << 20)
                if is_victim and self._lost < self.losses:
                    self._lost += 1
                    if self.closes:
                        break
                    continue
                writer.write(answer)
        writer.close()
        away.close()


@contextlib.contextmanager
def relayed(server: Server, victim: str, losses: int, *, closes: bool) -> Iterator[Relay]:
    """Run a relay in a thread of its own, as the client is waited for in this one."""
    relay = Relay(server, victim.encode(), losses, closes)
    is_ready, loop = threading.Event(), asyncio.new_event_loop()

    async def run() -> None:
        async with await asyncio.start_server(relay.serve, "127.0.0.1", 0) as listening:
            relay.port = listening.sockets[0].getsockname()[1]
            is_ready.set()
            with contextlib.suppress(asyncio.CancelledError):
                await listening.serve_forever()

    task = loop.create_task(run())
    thread = threading.Thread(target=loop.run_until_complete, args=(task,))
    thread.start()
    is_ready.wait()
    try:
        yield relay
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        loop.close()

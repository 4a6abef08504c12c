"""The simulator as a whole: starts, routes, stops, in this process or as one of its own."""

import asyncio
import contextlib
import gc
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Self

from dispatcher.simulator.answers import error_body, send_json
from dispatcher.simulator.control import CONTROL_PATHS, ControlApi
from dispatcher.simulator.faults import Faults, FaultSampler, Rules
from dispatcher.simulator.ledger import SimulatorLedger
from dispatcher.simulator.messages import MessagesEndpoint
from dispatcher.simulator.protocol import Listener, Request
from dispatcher.simulator.senders import Senders
from dispatcher.simulator.settings import SimulatedNumber, SimulatorSettings, check_latency
from dispatcher.simulator.webhooks import OutgoingWebhooks

# A number's id and what is asked of it.
GRAPH_PATH = re.compile(rb"/v[0-9]+\.[0-9]+/([^/?]+)/([a-z_]+)(?:\?.*)?")
UNKNOWN_PATH = 2500
UNSUPPORTED = 100
# How long a stop waits for answers whose time has not come.
LONGEST_STOP_S = 5.0


class Simulator:
    """A stand-in for the Cloud API: `async with Simulator(settings).serving() as simulator: ... simulator.url`."""

    def __init__(self, settings: SimulatorSettings | None = None) -> None:
        self.settings = settings or SimulatorSettings()
        self.ledger = SimulatorLedger(keep_bodies=self.settings.keep_bodies)
        self._listener = Listener(
            self.settings.host, self.settings.port, on_request=self._handle, on_ended=self._request_ended
        )
        self._senders = Senders(self.settings)
        self.webhooks = OutgoingWebhooks(self.settings.webhooks, self._senders, self.ledger.webhooks)
        for template in self.settings.held_templates:
            self.webhooks.hold(template)
        self._messages = MessagesEndpoint(
            self.settings, self._senders, self.ledger, self.webhooks, self._listener.close_for
        )
        self._control = ControlApi(self)
        self._graph: dict[bytes, Callable[[Request, str], None]] = {b"messages": self._messages.handle}

    @property
    def url(self) -> str:
        """Where it listens; known once it has started."""
        host = f"[{self._listener.host}]" if ":" in self._listener.host else self._listener.host
        return f"http://{host}:{self._listener.port}"

    @property
    def rules(self) -> Rules:
        """The rules in force; add to them at any time."""
        return self._messages.rules

    @property
    def faults(self) -> Faults:
        """The faults in force; assign others at any time, their seed starts anew."""
        return self._messages.fault_sampler.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._messages.fault_sampler = FaultSampler(faults)

    def add_number(self, number: str, value: SimulatedNumber) -> None:
        """A new number, or new values for a known one."""
        self._senders.add(number, value)

    def set_latency(self, latency_ms: float, jitter_ms: float = 0.0) -> None:
        """How long answers take from now on.

        Raises:
            ValueError: One is below zero.
        """
        check_latency(latency_ms, jitter_ms)
        self._messages.latency.base_ms = latency_ms
        self._messages.latency.jitter_ms = jitter_ms

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Self]:
        """Serve while the block runs."""
        await self.start()
        try:
            yield self
        finally:
            await self.stop()

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: The port is taken.
        """
        await self._listener.open()
        self.webhooks.start()

    async def stop(self) -> None:
        """Listen no more, give the answers that are due, and cut off what hangs."""
        self._listener.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._messages.is_idle.wait(), LONGEST_STOP_S)
        await self._listener.end()
        await self._control.stop()
        await self.webhooks.stop()

    async def stop_listening(self) -> None:
        """Refuse connects from now on; connections are closed as soon as what they asked is answered."""
        self._listener.close()
        await _let_sockets_close()

    async def listen_again(self) -> None:
        """Take connects again, on the same port."""
        await self._listener.open()

    async def refuse(self, seconds: float) -> None:
        """Refuse connects for so long. Returns as soon as they are refused; it listens again by itself."""
        self._listener.close_for(seconds)
        await _let_sockets_close()

    def refuse_soon(self, seconds: float) -> None:
        """Refuse connects for so long, once what is being answered now is answered."""
        asyncio.get_running_loop().call_soon(self._listener.close_for, seconds)

    def _handle(self, request: Request) -> None:
        if request.target.startswith(CONTROL_PATHS):
            self._control.handle(request)
            return
        path = GRAPH_PATH.fullmatch(request.target)
        endpoint = None if path is None else self._graph.get(path[2])
        if path is None or endpoint is None:
            _refuse(request, UNKNOWN_PATH, "Unknown path components: " + request.target.decode("latin-1"))
        elif request.method != b"POST":
            _refuse(request, UNSUPPORTED, f"Unsupported {request.method.decode('latin-1').lower()} request")
        else:
            endpoint(request, path[1].decode("latin-1"))

    def _request_ended(self, request: Request) -> None:
        self.ledger.end(request.key)


def _refuse(request: Request, code: int, details: str) -> None:
    send_json(request, 400, error_body(code, details=details))


async def _let_sockets_close() -> None:
    # The event loop closes a socket in its next turn.
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def run(settings: SimulatorSettings, on_listening: Callable[[str], None]) -> dict[str, object]:
    """Be a simulator until SIGTERM or SIGINT; the ledger's report. `on_listening` gets the URL once it serves.

    Raises:
        OSError: The port is taken.
    """
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings, on_listening))


async def _serve(settings: SimulatorSettings, on_listening: Callable[[str], None]) -> dict[str, object]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    async with Simulator(settings).serving() as simulator:
        # What lives as long as the process need not be searched for garbage: a pause there looks like late arrivals.
        gc.collect()
        gc.freeze()
        on_listening(simulator.url)
        await stop.wait()
    return simulator.ledger.report()

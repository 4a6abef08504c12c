"""The simulator as a whole: starts, routes, stops; the only module that knows all the others."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from dispatcher.simulator import answers
from dispatcher.simulator.control import PREFIXES, Control
from dispatcher.simulator.door import Door
from dispatcher.simulator.faults import Dice, Faults
from dispatcher.simulator.ledger import Ledger
from dispatcher.simulator.messages import PATH, Messages
from dispatcher.simulator.protocol import Request
from dispatcher.simulator.rules import Rules
from dispatcher.simulator.senders import Numbers
from dispatcher.simulator.settings import Number, SimulatorSettings
from dispatcher.simulator.webhooks.office import Webhooks

UNKNOWN_PATH = 2500
UNSUPPORTED = 100
# How long a stop waits for answers whose time has not come.
LONGEST_STOP_S = 5.0


class Simulator:
    """A stand-in for the Cloud API: `async with Simulator(settings).serving() as simulator: ... simulator.url`."""

    def __init__(self, settings: SimulatorSettings | None = None) -> None:
        self.settings = settings or SimulatorSettings()
        self.ledger = Ledger(keep_bodies=self.settings.keep_bodies)
        self._door = Door(self, self.settings.host, self.settings.port)
        numbers = Numbers(self.settings)
        self.webhooks = Webhooks(self.settings.webhooks, numbers, self.ledger.webhooks)
        for template in self.settings.held_templates:
            self.webhooks.hold(template)
        self._messages = Messages(self.settings, numbers, self.ledger, self.webhooks, self._door)
        self._control = Control(self)

    @property
    def url(self) -> str:
        """Where it listens; known once it has started."""
        host = f"[{self._door.host}]" if ":" in self._door.host else self._door.host
        return f"http://{host}:{self._door.port}"

    @property
    def rules(self) -> Rules:
        """The rules in force; add to them at any time."""
        return self._messages.rules

    @property
    def faults(self) -> Faults:
        """The faults in force; assign others at any time, their seed starts anew."""
        return self._messages.dice.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._messages.dice = Dice(faults)

    def add_number(self, number: str, value: Number) -> None:
        """A new number, or new values for a known one."""
        self._messages.numbers.add(number, value)

    def set_latency(self, latency_ms: float, jitter_ms: float = 0.0) -> None:
        """How long answers take from now on.

        Raises:
            ValueError: One is below zero.
        """
        if latency_ms < 0 or jitter_ms < 0:
            raise ValueError("latency and jitter are not below zero")
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
        await self._door.open()
        self.webhooks.start()

    async def stop(self) -> None:
        """Listen no more, give the answers that are due, and cut off what hangs."""
        self._door.shut()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._messages.is_idle.wait(), LONGEST_STOP_S)
        await self._door.close()
        await self._control.stop()
        await self.webhooks.stop()

    async def stop_listening(self) -> None:
        """Refuse connects from now on; connections are closed as soon as what they asked is answered."""
        self._door.shut()
        # The event loop closes the socket in its next turn.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def listen_again(self) -> None:
        """Take connects again, on the same port."""
        await self._door.open()

    async def refuse(self, seconds: float) -> None:
        """Refuse connects for so long. Returns as soon as they are refused; the door opens by itself."""
        self._door.shut_for(seconds)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def refuse_soon(self, seconds: float) -> None:
        """Refuse connects for so long, once what is being answered now is answered."""
        asyncio.get_running_loop().call_soon(self._door.shut_for, seconds)

    def handle(self, request: Request) -> None:
        """Route a request."""
        if request.target.startswith(PREFIXES):
            self._control.handle(request)
            return
        path = PATH.fullmatch(request.target)
        if path is None:
            _refuse(request, UNKNOWN_PATH, "Unknown path components: " + request.target.decode("latin-1"))
        elif request.method != b"POST":
            _refuse(request, UNSUPPORTED, f"Unsupported {request.method.decode('latin-1').lower()} request")
        else:
            self._messages.handle(request, path[1].decode("latin-1"))

    def ended(self, request: Request) -> None:
        """A request was answered, or its connection is gone."""
        self.ledger.closes(request.filed_under)


def _refuse(request: Request, code: int, details: str) -> None:
    body = answers.error_body(code, details=details)
    request.answer(answers.head(400, len(body)), body)

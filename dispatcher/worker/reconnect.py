"""A process's way to its cell, and the way back after an outage: first it tells what it knows, then others may claim.

A Redis that comes back may be an earlier one: a replica that lagged, a file without its last second.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from functools import partial

from dispatcher import errors
from dispatcher.settings import Settings
from dispatcher.store import work
from dispatcher.store.connection import Doorkeeper, connect
from dispatcher.store.pipeline import Pipeline
from dispatcher.store.schema import US, Cell
from dispatcher.store.scripts import plain
from dispatcher.worker.in_flight import InFlightMap, Settler
from dispatcher.worker.log import WorkerLog

_RETRY_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
OTHERS_FIRST_S = 0.25
"""All processes come back at about the same time; this long each leaves the others to say what they have in flight."""


class CellConnection:
    """One a process: its cell over one connection, what it has in flight, and how both survive an outage.

    `clock` gives seconds that go on while the machine sleeps.
    """

    def __init__(self, settings: Settings, log: WorkerLog, clock: Callable[[], float]) -> None:
        self.cell = Cell.of(settings)
        self.clock = clock
        self.in_flight = InFlightMap(clock)
        self._doorkeeper = Doorkeeper()
        url, timeout_s = settings.redis_url.get_secret_value(), settings.redis_timeout_s
        self._redis = connect(url, self.cell, timeout_s=timeout_s, doorkeeper=self._doorkeeper)
        self.pipeline = Pipeline(self._redis, log.round_trip)
        self.reconnect = Reconnect(self._come_back, log)
        self.settler = Settler(
            partial(work.settle, self.cell), self.pipeline.run, self.in_flight, log.settled, self.reconnect.begin
        )

    async def aclose(self) -> None:
        """Give up what is under way, and close."""
        await self.reconnect.aclose()
        await self.pipeline.idle()
        await self._redis.aclose()

    async def _come_back(self) -> None:
        """Reconnect, and tell Redis what this process knows."""
        await self.pipeline.idle()
        self._doorkeeper.allow()
        await self.settler.tell_again(round(max(self.cell.message_lease_s) * US))
        await self.pipeline.run(plain("PING", parse=bool))


class Reconnect:
    """Waits out outages; `come_back` reconnects and tells Redis what this process knows.

    `ready` is clear while Redis is away, or this process not yet back.
    """

    def __init__(self, come_back: Callable[[], Awaitable[None]], log: WorkerLog) -> None:
        self._come_back = come_back
        self._log = log
        self.ready = asyncio.Event()
        self.ready.set()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Take note that Redis did not answer."""
        if self._task is None:
            self.ready.clear()
            self._task = asyncio.create_task(self._reconnect())
            self._log.redis_lost()

    async def until_done(self, step: Callable[[], Awaitable[object]]) -> None:
        """Do a step that may be done twice, however long Redis is away."""
        while True:
            await self.ready.wait()
            try:
                await step()
            except errors.QueueUnavailable:
                self.begin()
            else:
                return

    async def aclose(self) -> None:
        """Give up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _reconnect(self) -> None:
        delays = itertools.chain(_RETRY_S, itertools.repeat(_RETRY_S[-1]))
        try:
            while True:
                try:
                    await self._come_back()
                    await asyncio.sleep(OTHERS_FIRST_S)
                    break
                except errors.QueueUnavailable:
                    pass
                except Exception as exc:  # noqa: BLE001 - giving up would leave the process waiting for ever
                    self._log.task_failed("reconnect", exc)
                await asyncio.sleep(next(delays))
            self.ready.set()
            self._log.redis_regained()
        finally:
            self._task = None

"""The composition root: builds a worker process from settings, and runs it until it is told to stop."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry

from dispatcher import errors
from dispatcher.client import Dispatcher
from dispatcher.message.message import Message, Ticket
from dispatcher.meta.graph import Graph
from dispatcher.observe import logs
from dispatcher.observe.metrics import Metrics, harmless, serve_metrics
from dispatcher.observe.process import clock, end_on_signals, process_name
from dispatcher.settings import NumbersFile, Settings
from dispatcher.store import campaigns, health, queue, streams
from dispatcher.store.scripts import Steps
from dispatcher.worker.arq_intake import Intake
from dispatcher.worker.delivery import Delivery
from dispatcher.worker.log import WorkerLog
from dispatcher.worker.numbers import Numbers
from dispatcher.worker.reconnect import CellConnection
from dispatcher.worker.serve import Worker

CHORES_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class App:
    """A worker process, put together."""

    settings: Settings
    connection: CellConnection
    graph: Graph
    numbers: Numbers
    worker: Worker
    intake: Intake
    dispatcher: Dispatcher
    log: WorkerLog
    chores_every_s: float = CHORES_EVERY_S
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self) -> None:
        """Begin to end: nothing more is taken."""
        self.stopping.set()
        self.worker.stop()
        self.intake.stop()

    async def run(self) -> None:
        """Serve until stopped.

        Raises:
            SettingsError: this Redis is not fit to keep messages.
        """
        if not await self._checked():
            return
        await self.graph.warm_up()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.worker.run())
            group.create_task(self.intake.run(self._send, self.log))
            group.create_task(self._do_chores())

    async def _do_chores(self) -> None:
        """Do them at once and then once a minute until stopped, whatever becomes of the intake.

        Not as jobs of arq: on a full Redis it starts none, though it is the chores that make room, and while its queue
        is broken it starts none either. They are bounded steps that may run twice, so every process does them.
        """
        cell = self.connection.cell
        chores: Mapping[str, Callable[[], Steps[Any]]] = {
            "trim_events": lambda: streams.trim(cell, self.settings.events_kept_s),
            "forget_dead": lambda: queue.forget_dead(cell),
            "forget_campaigns": lambda: campaigns.forget(cell),
        }
        while not self.stopping.is_set():
            for name, chore in chores.items():
                try:
                    await self.connection.pipeline.follow(chore())
                except errors.QueueUnavailable:
                    pass  # its next turn comes
                except Exception as exc:  # noqa: BLE001 - one chore's trouble is not another's
                    self.log.task_failed(name, exc)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.chores_every_s):
                    await self.stopping.wait()

    async def _checked(self) -> bool:
        """Wait for Redis and look whether it is fit; False if told to stop before it answered."""
        stopped = asyncio.create_task(self.stopping.wait())
        checking = asyncio.create_task(self.connection.reconnect.until_done(self._check))
        await asyncio.wait([stopped, checking], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not checking.done():
            checking.cancel()
            return False
        await checking
        return True

    async def _check(self) -> None:
        for warning in await self.connection.pipeline.follow(health.check()):
            self.log.redis_warned(warning)

    async def _send(self, given: object, default_key: str) -> Ticket:
        return await self.dispatcher.send(Message.parse(given, default_key))


@asynccontextmanager
async def assembled(settings: Settings, file: NumbersFile, metrics: Metrics) -> AsyncIterator[App]:
    """Put a worker process together; on leaving, its connections are closed."""
    name, url = process_name(), settings.redis_url.get_secret_value()
    log = harmless(WorkerLog(metrics, name), metrics.observer_errors)
    connection = CellConnection(settings, log, clock)
    graph = Graph(url=settings.graph_url, version=settings.graph_version)
    numbers = Numbers(file, log)
    delivery = Delivery(name, connection, graph, numbers, settings, log)
    worker = Worker(name, connection, delivery, numbers, settings, log)
    cell = connection.cell
    intake = Intake(url, settings.redis_timeout_s, cell.intake, cell.key("refused"), name)
    async with Dispatcher.connect(url, cell=settings.cell, timeout_s=settings.redis_timeout_s) as dispatcher:
        try:
            yield App(settings, connection, graph, numbers, worker, intake, dispatcher, log)
        finally:
            await connection.aclose()
            await graph.aclose()


async def run(settings: Settings, numbers: NumbersFile) -> None:
    """Run a worker process until SIGTERM or SIGINT; SIGHUP reads the numbers file again.

    A second signal ends the process at once, as does a stop that takes longer than a POST may and 5 s more.

    Raises:
        SettingsError: the metrics port is taken, or this Redis is not fit to keep messages.
    """
    metrics = Metrics(CollectorRegistry())
    server = serve_metrics(metrics, settings.metrics_port) if settings.metrics_port else None
    try:
        async with assembled(settings, numbers, metrics) as app:
            _handle_signals(app)
            app.log.process_event(logs.PROCESS_STARTED, numbers=len(app.numbers.by_id), redis=settings.redis_address)
            await app.run()
            app.log.process_event(logs.PROCESS_STOPPED)
    finally:
        if server is not None:
            await asyncio.to_thread(server.close)


def _handle_signals(app: App) -> None:
    def stop(name: str) -> None:
        app.log.process_event(logs.PROCESS_STOPPING, signal=name)
        app.stop()

    end_on_signals(stop, app.settings.stop_limit_s)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, app.numbers.reread)

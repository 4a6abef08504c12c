"""The composition root: builds a worker process from settings, and runs it until it is told to stop."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from dispatcher import errors
from dispatcher.observe import logs
from dispatcher.observe.process import end_on_signals, process_name
from dispatcher.client import Dispatcher
from dispatcher.worker.delivery import Delivery, Limits, Means
from dispatcher.worker.in_flight import Flights
from dispatcher.meta.graph import Graph
from dispatcher.worker.arq_intake import Intake
from dispatcher.worker.journal import Journal, harmless
from dispatcher.store import health
from dispatcher.store.chores import Chores
from dispatcher.store.connection import Doorkeeper, connect
from dispatcher.store.schema import Keys
from dispatcher.store.pipeline import Line
from dispatcher.store.numbers import Registry
from dispatcher.store.work import US, Leases, Serving
from dispatcher.store.stops import Stops
from dispatcher.store.terms import Terms
from dispatcher.worker.load import Load
from dispatcher.message.message import Message, Ticket
from dispatcher.policy.bucket import room
from dispatcher.message.priority import Priority
from dispatcher.worker.reconnect import Recovery
from dispatcher.worker.numbers import Roster
from dispatcher.settings import NumbersFile, Settings
from dispatcher.worker.settler import Settler
from dispatcher.observe.metrics import Metrics, serve_metrics
from dispatcher.worker.serve import Books, Worker

CHORES_EVERY_S = 60.0
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def clock() -> float:
    """Return seconds that go on while the machine sleeps, and never step."""
    return time.clock_gettime(_CLOCK)


@dataclass(frozen=True, slots=True)
class App:
    """A worker process, put together."""

    worker: Worker
    intake: Intake
    roster: Roster
    recovery: Recovery
    graph: Graph
    line: Line
    journal: Journal
    dispatcher: Dispatcher
    chores: Chores
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
            group.create_task(self.intake.run(self._send, self.journal))
            group.create_task(self._do_chores())

    async def _do_chores(self) -> None:
        """Do them at once and then once a minute until stopped, whatever becomes of the intake.

        Not as jobs of arq: on a full Redis it starts none, though it is the chores that make room, and while its queue
        is broken it starts none either. They are bounded steps that may run twice, so every process does them.
        """
        chores = (self.chores.trim_events, self.chores.forget_dead, self.chores.forget_campaigns)
        while not self.stopping.is_set():
            for chore in chores:
                try:
                    await chore()
                except errors.QueueUnavailable:
                    pass  # its next turn comes
                except Exception as exc:  # noqa: BLE001 - one chore's trouble is not another's
                    self.journal.stumbled(chore.__name__, exc)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.chores_every_s):
                    await self.stopping.wait()

    async def _checked(self) -> bool:
        """Wait for Redis and look whether it is fit; False if told to stop before it answered."""
        stopped = asyncio.create_task(self.stopping.wait())
        checking = asyncio.create_task(self.recovery.patiently(self._check))
        await asyncio.wait([stopped, checking], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not checking.done():
            checking.cancel()
            return False
        await checking
        return True

    async def _check(self) -> None:
        for warning in await health.check(self.line):
            self.journal.warned(warning)

    async def _send(self, given: object, default_key: str) -> Ticket:
        return await self.dispatcher.send(Message.parse(given, default_key))


@asynccontextmanager
async def assembled(settings: Settings, numbers: NumbersFile, metrics: Metrics) -> AsyncIterator[App]:
    """Put a worker process together; on leaving, its connections are closed."""
    process, url = process_name(), settings.redis_url.get_secret_value()
    journal = harmless(Journal(metrics, process), metrics.observer_errors)
    keys, terms = Keys(settings.cell), _terms(settings)
    doorkeeper = Doorkeeper()
    redis = connect(url, timeout_s=settings.redis_timeout_s, doorkeeper=doorkeeper)
    line = Line(redis, journal.round_trip, journal.ran)
    leases = _leases(settings)
    serving, stops = Serving(line, keys, leases, terms), Stops(line, keys, terms)
    flights = Flights(clock)

    async def come_back() -> None:
        await line.idle()
        doorkeeper.allow()
        await settler.tell_again(round(max(leases.messages_s) * US))
        await line.command("PING")

    recovery = Recovery(come_back, journal)
    settler = Settler(serving, flights, journal.settled, recovery.trouble)
    graph = Graph(url=settings.graph_url, version=settings.graph_version)
    roster = Roster(numbers, journal)
    means = Means(serving, graph, settler, flights, recovery, roster, clock)
    journal.may_fly(sum(room(n.rate_per_s, most=settings.in_flight_per_number).urgent for n in roster.all()))
    delivery = Delivery(process, means, _limits(settings), journal)
    books = Books(stops, Registry(line, keys), Load(journal.lagged))
    worker = Worker(process, means, delivery, books, journal, settings.take_interval_s)
    intake = Intake(url, settings.redis_timeout_s, keys.intake, keys("refused"), process)
    async with Dispatcher.connect(url, cell=settings.cell, timeout_s=settings.redis_timeout_s) as dispatcher:
        try:
            yield App(
                worker,
                intake,
                roster,
                recovery,
                graph,
                line,
                journal,
                dispatcher,
                Chores(line, keys, settings.events_kept_s),
            )
        finally:
            await recovery.aclose()
            await line.idle()
            await graph.aclose()
            await redis.aclose()


def _terms(settings: Settings) -> Terms:
    return Terms(settings.events_kept_s, settings.uncertain_window_s, settings.uncertain_window_urgent_s)


def _leases(settings: Settings) -> Leases:
    urgent, normal, bulk = (settings.message_lease_s(priority) for priority in Priority)
    return Leases(settings.number_lease_s, (urgent, normal, bulk))


def _limits(settings: Settings) -> Limits:
    urgent, normal, bulk = (settings.post_limit_s(priority) for priority in Priority)
    return Limits(settings.claim_to_post_s, (urgent, normal, bulk), settings.in_flight_per_number)


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
            _handle_signals(app, settings.stop_limit_s)
            app.journal.said(logs.PROCESS_STARTED, numbers=len(app.roster.all()), redis=settings.redis_address)
            await app.run()
            app.journal.said(logs.PROCESS_STOPPED)
    finally:
        if server is not None:
            await asyncio.to_thread(server.close)


def _handle_signals(app: App, stop_limit_s: float) -> None:
    def stop(name: str) -> None:
        app.journal.said(logs.PROCESS_STOPPING, signal=name)
        app.stop()

    end_on_signals(stop, stop_limit_s)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, app.roster.distrust)

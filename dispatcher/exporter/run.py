"""The composition root of the exporter: builds the process from settings, and serves until it is told to stop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager
from typing import Final

import uvloop
from prometheus_client import CollectorRegistry, ProcessCollector

from dispatcher import errors
from dispatcher.observe import logs
from dispatcher.observe.process import end_on_signals, process_name
from dispatcher.exporter.collector import CellCollector
from dispatcher.exporter.journal import Journal
from dispatcher.exporter.look import TIMEOUT_S, Look, Lookout
from dispatcher.exporter.snapshots import Snapshots
from dispatcher.store.connection import connect
from dispatcher.store.schema import Keys
from dispatcher.store.pipeline import Line
from dispatcher.settings import PREFIX, Settings
from dispatcher.observe.metrics import build_info, serve_metrics

STOP_LIMIT_S: Final = 5.0
_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - for Prometheus
_CONNECTIONS: Final = 1


class ExporterMetrics:
    """What an exporter serves, on a registry of its own."""

    def __init__(self, registry: CollectorRegistry, latest: Callable[[], Look]) -> None:
        self.registry = registry
        registry.register(CellCollector(latest))
        self.build_info = build_info(registry)
        ProcessCollector(registry=registry)


@asynccontextmanager
async def assembled(
    settings: Settings, journal: Journal, timeout_s: float = TIMEOUT_S
) -> AsyncIterator[ExporterMetrics]:
    """Put an exporter together, around the running loop; on leaving, its connections are closed."""
    redis = connect(settings.redis_url.get_secret_value(), timeout_s=settings.redis_timeout_s, connections=_CONNECTIONS)
    line = Line(redis)
    lookout = Lookout(line, Keys(settings.cell), journal, timeout_s)
    loop = asyncio.get_running_loop()

    def begin() -> "Future[Look]":
        look = lookout.look()
        try:
            return asyncio.run_coroutine_threadsafe(look, loop)
        except RuntimeError:
            look.close()
            raise

    try:
        yield ExporterMetrics(CollectorRegistry(), Snapshots(begin, timeout_s).latest)
    finally:
        await line.idle()
        await redis.aclose()


def serve(settings: Settings, on_listening: Callable[[str], None]) -> None:
    """Be an exporter until told to stop; `on_listening` is told the URL of its metrics.

    Raises:
        SettingsError: The port is taken, or there is none.
    """
    if not settings.metrics_port:
        raise errors.SettingsError(
            (f"{PREFIX}METRICS_PORT: 0 serves nothing, and an exporter does nothing else; give a free port",)
        )
    logs.set_up(settings.log_level, settings.log_format)
    uvloop.run(_run(settings, on_listening))


async def _run(settings: Settings, on_listening: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT; a second signal, or a stop that takes too long, ends the process at once."""
    journal = Journal(process_name())
    async with assembled(settings, journal) as metrics:
        server = serve_metrics(metrics, settings.metrics_port, _ADDRESS)
        try:
            stopping = _handle_signals(journal)
            url = f"http://{_ADDRESS}:{server.port}/metrics"
            journal.said(logs.PROCESS_STARTED, url=url, redis=settings.redis_address)
            on_listening(url)
            await stopping.wait()
        finally:
            await asyncio.to_thread(server.close)
    journal.said(logs.PROCESS_STOPPED)


def _handle_signals(journal: Journal) -> asyncio.Event:
    stopping = asyncio.Event()

    def stop(name: str) -> None:
        journal.said(logs.PROCESS_STOPPING, signal=name)
        stopping.set()

    end_on_signals(stop, STOP_LIMIT_S)
    return stopping

"""The composition root of the exporter: builds the process from settings, and serves until it is told to stop."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import uvloop
from prometheus_client import CollectorRegistry, ProcessCollector

from dispatcher import errors
from dispatcher.exporter.collector import CellCollector
from dispatcher.exporter.log import ExporterLog
from dispatcher.exporter.look import FRESH_S, TIMEOUT_S, Look, LookCache
from dispatcher.observe import logs
from dispatcher.observe.metrics import build_info, serve_metrics
from dispatcher.observe.process import end_on_signals, process_name
from dispatcher.settings import PREFIX, Settings
from dispatcher.store.connection import connect_sync
from dispatcher.store.health import check_schema
from dispatcher.store.pipeline import SyncPipeline
from dispatcher.store.schema import Cell

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


@contextmanager
def assembled(
    settings: Settings, log: ExporterLog, *, timeout_s: float = TIMEOUT_S, fresh_s: float = FRESH_S
) -> Iterator[ExporterMetrics]:
    """Put an exporter together; on leaving, its connections are closed.

    Raises:
        SettingsError: The cell's data is of a later release.
    """
    url = settings.redis_url.get_secret_value()
    cell = Cell(settings.cell)
    redis = connect_sync(url, cell, timeout_s=settings.redis_timeout_s, connections=_CONNECTIONS)
    pipeline = SyncPipeline(redis)
    looks = LookCache(pipeline, cell, log, timeout_s=timeout_s, fresh_s=fresh_s)
    try:
        pipeline.follow(check_schema())
        yield ExporterMetrics(CollectorRegistry(), looks.latest)
    finally:
        looks.close()  # a scrape may still run in its thread
        redis.close()


def serve(settings: Settings, on_listening: Callable[[str], None]) -> None:
    """Be an exporter until told to stop; `on_listening` is told the URL of its metrics.

    Raises:
        SettingsError: The port is taken, or there is none, or the cell's data is of a later release.
    """
    if not settings.metrics_port:
        raise errors.SettingsError(
            (f"{PREFIX}METRICS_PORT: 0 serves nothing, and an exporter does nothing else; give a free port",)
        )
    logs.set_up(settings.log_level, settings.log_format)
    uvloop.run(_run(settings, on_listening))


async def _run(settings: Settings, on_listening: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT; a second signal, or a stop that takes too long, ends the process at once."""
    log = ExporterLog(process_name())
    with assembled(settings, log) as metrics:
        server = serve_metrics(metrics, settings.metrics_port, _ADDRESS)
        try:
            stopping = _handle_signals(log)
            url = f"http://{_ADDRESS}:{server.port}/metrics"
            log.said(logs.PROCESS_STARTED, url=url, redis=settings.redis_address)
            on_listening(url)
            await stopping.wait()
        finally:
            await asyncio.to_thread(server.close)
    log.said(logs.PROCESS_STOPPED)


def _handle_signals(log: ExporterLog) -> asyncio.Event:
    stopping = asyncio.Event()

    def stop(name: str) -> None:
        log.said(logs.PROCESS_STOPPING, signal=name)
        stopping.set()

    end_on_signals(stop, STOP_LIMIT_S)
    return stopping

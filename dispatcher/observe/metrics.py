"""The metrics of worker and API processes: their names, labels and buckets in one place, each declared once.

Whoever writes down what happens, as metrics and as events, hurts nobody: `harmless` sees to it.

What happens in a cell is counted in the cell, and served by the exporter. This must not know what it counts: callers
pass plain values, and label values only from closed sets, so that no message, recipient, key or campaign ever makes a
series of its own. `docs/metrics.md` lists the values.
"""

import platform
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import metadata
from typing import Any, Final, Protocol, TypeVar, cast
from wsgiref.simple_server import WSGIServer

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    start_http_server,
)

from dispatcher import errors
from dispatcher.observe import logs

_WAIT_BUCKETS_S: Final = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),  # one-time passwords and a steady flow
    *(300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600),  # campaigns
)
_POST_BUCKETS_S: Final = (0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 15)
_ANSWER_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_DELIVERY_BUCKETS_S: Final = (
    *(0.5, 1, 2, 3, 5, 10, 30, 60, 300),  # a phone that is on
    *(900, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 3 * 24 * 3600, 7 * 24 * 3600),  # one that is off
)
_ROUND_TRIP_BUCKETS_S: Final = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2)
_SCRIPT_BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2)
_LOGGED_EVERY_S: Final = 60.0

_Observer = TypeVar("_Observer")


class ProcessMetrics:
    """What every worker and API process measures, on a registry of its own and never the global one."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register them.

        Raises:
            ValueError: The registry has them already.
        """
        self.registry = registry
        self.observer_errors = Counter(
            "dispatcher_observer_errors_total",
            "Metrics and log lines that failed and were dropped",
            ("method",),
            registry=registry,
        )
        self.redis_round_trip = Histogram(
            "dispatcher_redis_round_trip_seconds",
            "From a command or script to its answer",
            buckets=_ROUND_TRIP_BUCKETS_S,
            registry=registry,
        )
        self.redis_script = Histogram(
            "dispatcher_redis_script_seconds",
            "Round trips with this script in them",
            ("script",),
            buckets=_SCRIPT_BUCKETS_S,
            registry=registry,
        )
        self.build_info = build_info(registry)
        ProcessCollector(registry=registry)


class Metrics(ProcessMetrics):
    """What a worker counts and measures."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register all metrics.

        Raises:
            ValueError: The registry has them already.
        """
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        histogram = partial(Histogram, registry=registry)
        self.attempts = counter("dispatcher_attempts_total", "POSTs that ended, snoozes apart", ("outcome", "code"))
        self.endpoint_requests = counter(
            "dispatcher_endpoint_requests_total", "POSTs by what the endpoint answered", ("class",)
        )
        self.snoozes = counter("dispatcher_snoozes_total", "Claims put back at no cost to the message", ("code",))
        self.enqueue_to_post = histogram(
            "dispatcher_enqueue_to_post_seconds",
            "From enqueue, or from when the message was due, to its first POST",
            ("lane",),
            buckets=_WAIT_BUCKETS_S,
        )
        self.post = histogram(
            "dispatcher_post_seconds", "From a POST to its outcome", ("outcome",), buckets=_POST_BUCKETS_S
        )
        self.in_flight = gauge("dispatcher_in_flight", "POSTs under way")
        self.in_flight_cap = gauge("dispatcher_in_flight_cap", "Most POSTs that may be under way")
        self.claims = counter("dispatcher_claims_total", "Claims made, empty ones too")
        self.claimed_messages = counter("dispatcher_claimed_messages_total", "Messages claimed", ("lane",))
        self.intake_refused = counter(
            "dispatcher_intake_refused_total", "Jobs on the send queue that were refused and listed", ("reason",)
        )
        self.messages_accepted_by_intake = counter(
            "dispatcher_messages_accepted_by_intake_total", "Messages put into their lanes by the send queue"
        )
        self.number_leases = gauge("dispatcher_number_leases", "Numbers this process serves")
        self.event_loop_lag = gauge("dispatcher_event_loop_lag_seconds", "How late the event loop last ran a timer")
        self.redis_reconnects = counter("dispatcher_redis_reconnects_total", "Connections to Redis made anew")
        super().__init__(registry)


class ApiMetrics(ProcessMetrics):
    """What an API process counts and measures."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register all metrics.

        Raises:
            ValueError: The registry has them already.
        """
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        histogram = partial(Histogram, registry=registry)
        self.requests = counter("dispatcher_webhook_requests_total", "Webhook requests answered", ("outcome",))
        self.answer = histogram(
            "dispatcher_webhook_answer_seconds", "From a webhook request to its answer", buckets=_ANSWER_BUCKETS_S
        )
        self.backlog = gauge("dispatcher_webhook_backlog", "Webhooks stored and not worked off")
        self.lag = gauge("dispatcher_webhook_lag_seconds", "Age of the oldest webhook that is not worked off")
        self.updates = counter("dispatcher_webhook_updates_total", "Updates worked off", ("kind",))
        self.receipts = counter(
            "dispatcher_receipts_total", "Receipts that said something new", ("status", "category", "billable")
        )
        self.accepted_to_delivered = histogram(
            "dispatcher_accepted_to_delivered_seconds",
            "From an acceptance to the first receipt that says the message arrived, worked off",
            ("lane",),
            buckets=_DELIVERY_BUCKETS_S,
        )
        self.forwarded = counter(
            "dispatcher_webhook_forwarded_total",
            "Tries to pass a webhook on, and webhooks given up",
            ("host", "outcome"),
        )
        self.forward_backlog = gauge("dispatcher_webhook_forward_backlog", "Webhooks not yet passed on", ("host",))
        super().__init__(registry)


def harmless(observer: _Observer, failures: Counter, clock: Callable[[], float] = time.monotonic) -> _Observer:
    """Return the observer with methods that never raise; each process wires its own through this.

    What a method raises is counted in `failures` under the method's name, logged once a minute, and dropped. Methods of
    observers return None. `clock` gives seconds.
    """
    return cast("_Observer", _Harmless(observer, failures, clock))


class _Harmless:
    def __init__(self, observer: object, failures: Counter, clock: Callable[[], float]) -> None:
        self._observer = observer
        self._failures = failures
        self._clock = clock
        self._logged_at: dict[str, float] = {}

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Make the method when it is first asked for; from then on it is found without this."""
        method = getattr(self._observer, name)

        def hear(*args: Any, **fields: Any) -> None:
            try:
                method(*args, **fields)
            except Exception as exc:  # noqa: BLE001 - whatever it is, the work goes on
                self._drop(name, exc)

        self.__dict__[name] = hear
        return hear

    def _drop(self, name: str, exc: Exception) -> None:
        # counting and logging may be what is broken
        with suppress(Exception):
            self._failures.labels(name).inc()
        with suppress(Exception):
            now = self._clock()
            if now - self._logged_at.get(name, -_LOGGED_EVERY_S) >= _LOGGED_EVERY_S:
                self._logged_at[name] = now
                structlog.get_logger().error(logs.OBSERVER_FAILED, method=name, exc_info=exc)


def build_info(registry: CollectorRegistry) -> Gauge:
    """Make the metric that names this build."""
    made = Gauge("dispatcher_build_info", "Always 1; which build this is", ("version", "python"), registry=registry)
    made.labels(version=_version(), python=platform.python_version()).set(1)
    return made


class HasRegistry(Protocol):
    """Whatever has its metrics on a registry of its own."""

    registry: CollectorRegistry


class MetricsServer:
    """Serves one registry at `/metrics` from a thread of its own, until `close`."""

    def __init__(self, server: WSGIServer, thread: threading.Thread) -> None:
        self._server = server
        self._thread = thread

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.server_port

    def close(self) -> None:
        """Stop listening and wait for the thread; takes up to half a second."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def serve_metrics(metrics: HasRegistry, port: int, addr: str = "0.0.0.0") -> MetricsServer:  # noqa: S104 - for Prometheus
    """Serve the metrics on `addr`; 0 lets the system choose the port, so whoever wants none does not call this.

    Raises:
        SettingsError: Nothing can listen there.
    """
    try:
        server, thread = start_http_server(port, addr=addr, registry=metrics.registry)
    except OSError as exc:
        problem = f"DISPATCHER_METRICS_PORT: cannot listen on {addr}:{port} ({exc.strerror}); give a free port, or 0"
        raise errors.SettingsError((problem,)) from exc
    return MetricsServer(server, thread)


def _version() -> str:
    try:
        return metadata.version("whatsapp-dispatcher")
    except metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"

"""The metrics of an API process: their names, labels and buckets in one place, on a registry of their own.

It must not know what it counts; label values come from closed sets, of which `docs/metrics.md` has the list.
"""

from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from dispatcher.observe.metrics import build_info, redis_script

_ANSWER_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_DELIVERY_BUCKETS_S: Final = (
    *(0.5, 1, 2, 3, 5, 10, 30, 60, 300),  # a phone that is on
    *(900, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 3 * 24 * 3600, 7 * 24 * 3600),  # one that is off
)


class ApiMetrics:
    """What an API process counts and measures."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register all metrics.

        Raises:
            ValueError: The registry has them already.
        """
        self.registry = registry
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        self.requests = counter("dispatcher_webhook_requests_total", "Webhook requests answered", ("outcome",))
        self.answer = Histogram(
            "dispatcher_webhook_answer_seconds",
            "From a webhook request to its answer",
            buckets=_ANSWER_BUCKETS_S,
            registry=registry,
        )
        self.backlog = gauge("dispatcher_webhook_backlog", "Webhooks stored and not worked off")
        self.lag = gauge("dispatcher_webhook_lag_seconds", "Age of the oldest webhook that is not worked off")
        self.updates = counter("dispatcher_webhook_updates_total", "Updates worked off", ("kind",))
        self.receipts = counter(
            "dispatcher_receipts_total", "Receipts that said something new", ("status", "category", "billable")
        )
        self.accepted_to_delivered = Histogram(
            "dispatcher_accepted_to_delivered_seconds",
            "From an acceptance to the first receipt that says the message arrived, worked off",
            ("lane",),
            buckets=_DELIVERY_BUCKETS_S,
            registry=registry,
        )
        self.duplicate_acceptances = counter(
            "dispatcher_duplicate_acceptances_total", "Messages that Meta accepted a second time"
        )
        self.forwarded = counter(
            "dispatcher_webhook_forwarded_total",
            "Tries to pass a webhook on, and webhooks given up",
            ("host", "outcome"),
        )
        self.forward_backlog = gauge("dispatcher_webhook_forward_backlog", "Webhooks not yet passed on", ("host",))
        self.redis_round_trip = Histogram(
            "dispatcher_redis_round_trip_seconds",
            "From a command or script to its answer",
            buckets=_ANSWER_BUCKETS_S,
            registry=registry,
        )
        self.redis_script = redis_script(registry)
        self.build_info = build_info(registry)
        ProcessCollector(registry=registry)

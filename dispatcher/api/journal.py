"""Writes down what happens in an API process, as events and metrics. Decides nothing, and never shows a body."""

import re
import time
from collections import Counter
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any, Final

import structlog
from prometheus_client import Counter as Count

from dispatcher import errors
from dispatcher.message.priority import Priority
from dispatcher.meta.webhook import Receipt
from dispatcher.observe import logs
from dispatcher.observe.metrics import ApiMetrics
from dispatcher.store.receipts import Applied
from dispatcher.store.webhooks import Waiting

_STATUSES: Final = frozenset({"sent", "delivered", "read", "played", "failed"})
_CATEGORIES: Final = frozenset(
    {
        *("authentication", "authentication_international", "marketing", "marketing_lite"),
        *("referral_conversion", "service", "utility"),
    }
)
_CATEGORY: Final = re.compile(r'"category":"([^"]*)"')
_BROKEN_EVERY_S: Final = 10.0


class ApiJournal:
    """Hears of everything that a process does; `log` carries the process's name."""

    def __init__(self, metrics: ApiMetrics, process: str) -> None:
        self._metrics = metrics
        self._log: Any = structlog.get_logger().bind(process=process)
        self._turned_away: Counter[str] = Counter()
        self._is_away = False
        self._broken_at = float("-inf")
        self._receipts = lru_cache(1000)(self._receipts_of)  # to look for a labelled metric takes longer than to count
        self._scripts = lru_cache(metrics.redis_script.labels)
        self._deliveries = [metrics.accepted_to_delivered.labels(lane.value) for lane in Priority]

    # the webhook endpoint

    def answered(self, outcome: str, took_s: float) -> None:
        """A webhook request was answered, or its sender is gone."""
        self._metrics.requests.labels(outcome).inc()
        self._metrics.answer.observe(took_s)
        if outcome != "stored":
            self._turned_away[outcome] += 1

    def gap_recorded(self) -> None:
        """Redis knows of a gap now; what led to it is said once for all."""
        counts, self._turned_away = dict(self._turned_away), Counter()
        if counts:
            self._log.warning(logs.WEBHOOKS_MISSED, **counts)

    def waiting(self, webhooks: Waiting, forwards: Sequence[tuple[str, Waiting]]) -> None:
        """So much waits behind the endpoint; `forwards` by host, of which several URLs may have the same."""
        self._metrics.backlog.set(webhooks.entries)
        self._metrics.lag.set(webhooks.oldest_s)
        by_host: Counter[str] = Counter()
        for host, waiting in forwards:
            by_host[host] += waiting.entries
        for host, entries in by_host.items():
            self._metrics.forward_backlog.labels(host).set(entries)

    # updates

    def receipt_applied(self, receipt: Receipt, applied: Applied) -> None:
        """A receipt was applied."""
        word = applied.word
        self._metrics.updates.labels("foreign" if word == "foreign" else "receipt").inc()
        if word in {"foreign", ""}:
            return
        self._receipts(receipt.status, receipt.pricing).inc()
        if applied.delivered_after_s is not None:
            self._deliveries[applied.lane].observe(applied.delivered_after_s)
        message = {"key": receipt.key, "number": receipt.number}
        if word == "duplicate":
            self._log.error(logs.DUPLICATE_FOUND, **message, wamid=receipt.wamid)
        elif word == "dead":
            self._log.warning(logs.MESSAGE_DIED, **message, cause="failed", error=receipt.error)

    def _receipts_of(self, status: str, pricing: str) -> Count:
        status = status if status in _STATUSES else "other"
        return self._metrics.receipts.labels(status, _category(pricing), _billable(pricing))

    def updates_applied(self, kind: str, count: int) -> None:
        """So many updates of a kind were worked off."""
        if count:
            self._metrics.updates.labels(kind).inc(count)

    def kept_aside(self, exc: Exception, deliveries: int) -> None:
        """A body made us fail again and again, and is no longer tried."""
        self._log.error(logs.BODY_KEPT_ASIDE, deliveries=deliveries, reason=type(exc).__name__)

    # what is passed on

    def forwarded(self, host: str, outcome: str, count: int = 1) -> None:
        """A webhook was passed on, or a try ended otherwise."""
        if count:
            self._metrics.forwarded.labels(host, outcome).inc(count)
        if count and outcome == "given_up":
            self._log.error(logs.FORWARD_GIVEN_UP, host=host, count=count)

    def target_failing(self, host: str, reason: str) -> None:
        """A URL does not take webhooks now."""
        self._log.warning(logs.FORWARD_FAILING, host=host, reason=reason)

    def target_recovered(self, host: str) -> None:
        """A URL takes webhooks again."""
        self._log.info(logs.FORWARD_RECOVERED, host=host)

    # the process

    def redis_lost(self, exc: errors.QueueUnavailable) -> None:
        """Redis is away, full or broken."""
        if not self._is_away:
            self._is_away = True
            self._log.warning(logs.REDIS_LOST, reason=exc.reason)

    def redis_regained(self) -> None:
        """Redis answers."""
        if self._is_away:
            self._is_away = False
            self._log.info(logs.REDIS_REGAINED)

    def failed(self, task: str, exc: Exception) -> None:
        """A bug of ours showed."""
        self._log.error(logs.TASK_FAILED, task=task, exc_info=exc)

    def redis_broken(self, task: str, exc: errors.QueueBroken) -> None:
        """Something in Redis is not what it should be; it is tried again and again, and said now and then."""
        if time.monotonic() - self._broken_at > _BROKEN_EVERY_S:
            self._broken_at = time.monotonic()
            self._log.error(logs.TASK_FAILED, task=task, reason=exc.reason)

    def round_trip(self, took_s: float, scripts: Collection[str]) -> None:
        """Redis answered a pipeline with these scripts in it."""
        self._metrics.redis_round_trip.observe(took_s)
        for script in scripts:
            self._scripts(script).observe(took_s)

    def process_event(self, event: str, **fields: Any) -> None:
        """Something about the process itself."""
        self._log.info(event, **fields)


def _billable(pricing: str) -> str:
    """Return what Meta says of the price, in a word; it says nothing with most receipts."""
    if '"billable":true' in pricing:
        return "yes"
    return "no" if '"billable":false' in pricing else "unknown"


def _category(pricing: str) -> str:
    """Return the category that Meta charges for; it says nothing with most receipts."""
    found = _CATEGORY.search(pricing)
    if found is None:
        return "unknown"
    category = found[1].replace("-", "_").lower()
    return category if category in _CATEGORIES else "other"

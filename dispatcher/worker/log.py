"""Writes down what happens, as events and metrics: one for a process. Decides nothing, and hurts nobody."""

import time
from collections.abc import Collection
from functools import lru_cache
from typing import Any

import structlog
from prometheus_client import Counter

from dispatcher import errors
from dispatcher.message.message import mask
from dispatcher.observe import logs
from dispatcher.observe.metrics import Metrics
from dispatcher.policy.outcome import (
    Accepted,
    Answer,
    Close,
    Lost,
    Reject,
    Reply,
    RetryLater,
    Snooze,
    Uncertain,
    Verdict,
)
from dispatcher.policy.verdict import label
from dispatcher.store.schema import LANES, US
from dispatcher.store.work import Batch, Decided, Settlement, Tended
from dispatcher.worker.in_flight import InFlight

_OUTCOMES = {
    Accepted: "accepted",
    RetryLater: "retry_later",
    Snooze: "snooze",
    Reject: "reject",
    Uncertain: "uncertain",
}
_CLASSES = ("2xx", "429", "4xx", "5xx")
_TEMPLATE_STOPPED = ("132015", "132016", "paused")
_CAUSES = {"reject": "rejected", "retry": "exhausted"}


class WorkerLog:
    """Hears of everything that a process does; `log` carries the process's name."""

    def __init__(self, metrics: Metrics, process: str) -> None:
        self._metrics = metrics
        self._log: Any = structlog.get_logger().bind(process=process)
        self._waits = [metrics.enqueue_to_post.labels(lane) for lane in LANES]
        self._claimed = [metrics.claimed_messages.labels(lane) for lane in LANES]
        self._closed_at: dict[str, float] = {}
        self._posts = {name: metrics.post.labels(name) for name in _OUTCOMES.values()}
        self._ended = lru_cache(1000)(self._ended_as)  # to look for a labelled metric takes longer than to count
        self._answers = lru_cache(1000)(self._answered_with)
        self._unsent, self._lost = (metrics.endpoint_requests.labels(name) for name in ("unsent", "lost"))
        self._scripts = lru_cache(metrics.redis_script.labels)
        self._begin_at_zero()
        self._in_flight = 0
        metrics.in_flight.set_function(lambda: self._in_flight)

    def _begin_at_zero(self) -> None:
        """Let counters that alerts look at exist before they count: the first of a kind would be no increase."""
        for name in (*_CLASSES, "lost", "unsent", "other"):
            self._metrics.endpoint_requests.labels(name)
        for code in _TEMPLATE_STOPPED:
            self._metrics.attempts.labels("reject", code)

    # deliveries

    def claimed(self, batch: Batch) -> None:
        """A claim was answered."""
        self._metrics.claims.inc()
        for message in batch.messages:
            self._claimed[message.priority].inc()
        if batch.lost:
            self._log.error(logs.MESSAGE_DIED, cause="lost", count=batch.lost)

    def post_began(self, each: InFlight, since_claim_s: float) -> None:
        """A POST begins."""
        self._in_flight += 1
        if each.message.attempts == 0:
            waited_us = each.claimed_at_us - each.message.due_at_us
            self._waits[each.message.priority].observe(max(0, waited_us) / US + since_claim_s)

    def endpoint_answered(self, reply: Reply) -> None:
        """The endpoint answered a POST, or did not."""
        if isinstance(reply, Answer):
            self._answers(reply.status).inc()
        else:
            (self._lost if isinstance(reply, Lost) else self._unsent).inc()

    def _answered_with(self, status: int) -> Counter:
        name = "429" if status == 429 else f"{status // 100}xx"
        return self._metrics.endpoint_requests.labels(name if name in _CLASSES else "other")

    def post_ended(self, each: InFlight, verdict: Verdict, took_s: float) -> None:
        """A POST has ended."""
        message, outcome = each.message, _OUTCOMES[type(verdict.outcome)]
        self._in_flight -= 1
        self._posts[outcome].observe(took_s)
        self._ended(outcome, verdict.code).inc()
        self._log.info(
            logs.ATTEMPT_ENDED,
            key=message.key,
            claim=message.claim,
            number=each.number,
            lane=LANES[message.priority],
            recipient=mask(message.recipient),
            outcome=outcome,
            code=verdict.code,
            error=getattr(verdict.outcome, "error", ""),
            wamid=getattr(verdict.outcome, "wamid", ""),
            duration_ms=round(took_s * 1000, 1),
        )
        if isinstance(verdict.gate, Close):
            self._closed(each.number, verdict.gate, verdict.code, took_s)

    def _ended_as(self, outcome: str, code: str) -> Counter:
        if outcome == "snooze":
            return self._metrics.snoozes.labels(label(code))
        return self._metrics.attempts.labels(outcome, label(code))

    def _closed(self, number: str, change: Close, code: str, took_s: float) -> None:
        """Say a closing once: what was in flight when the gate closed closes it no further."""
        now = time.monotonic()
        if now - took_s < self._closed_at.get(number, 0.0):
            return
        self._closed_at[number] = now
        self._log.warning(
            logs.GATE_CLOSED, number=number, why=change.why.value, code=code, for_s=round(change.for_s, 3)
        )

    def post_broke(self, each: InFlight, exc: BaseException) -> None:
        """A bug of ours showed; the message is put back, or uncertain if its POST may have begun."""
        self._log.error(logs.TASK_FAILED, task="post", key=each.message.key, exc_info=exc)

    def settled(self, settlement: Settlement, word: str) -> None:
        """Redis knows what a message became."""
        key = settlement.key
        if word == "duplicate":
            self._log.error(logs.DUPLICATE_FOUND, key=key, number=settlement.number, wamid=settlement.value)
        elif word == "dead":
            self._log.warning(logs.MESSAGE_DIED, key=key, cause=_CAUSES[settlement.outcome], error=settlement.error)
        elif word.startswith("broken"):
            self._log.error(logs.TASK_FAILED, task="settle", key=key, reason=word)

    # numbers

    def numbers_served(self, numbers: int) -> None:
        """So many numbers are served now."""
        self._metrics.number_leases.set(numbers)

    def tended(self, tended: Tended) -> None:
        """A step of upkeep was done."""
        if tended.uncertain or tended.lapsed:
            self._log.warning(logs.LEASES_ENDED, uncertain=tended.uncertain, lapsed=tended.lapsed)
        self._died(held=tended.held, lost=tended.lost)

    def decided(self, decided: Decided) -> None:
        """A step of uncertain messages was decided about."""
        self._died(held=decided.held, exhausted=decided.exhausted)

    def _died(self, **counts: int) -> None:
        for cause, count in counts.items():
            if count:
                self._log.warning(logs.MESSAGE_DIED, cause=cause, count=count)

    def serving_broke(self, number: str, exc: Exception) -> None:
        """A number could not be served; another try follows when its lease has ended."""
        self._log.error(logs.TASK_FAILED, task="serve", number=number, exc_info=exc)

    def numbers_given_back(self, given_back: int, lag_s: float) -> None:
        """The event loop is late; numbers were given back."""
        self._log.warning(logs.LOOP_LAGGED, given_back=given_back, lag_ms=round(lag_s * 1000))

    def loop_lagged(self, lag_s: float) -> None:
        """The event loop was this late."""
        self._metrics.event_loop_lag.set(lag_s)

    def in_flight_most(self, most: int) -> None:
        """So many POSTs may be in flight, of all numbers of the process together."""
        self._metrics.in_flight_cap.set(most)

    def numbers_reloaded(self, numbers: int) -> None:
        """The numbers file was read again."""
        self._log.info(logs.NUMBERS_RELOADED, numbers=numbers)

    def numbers_refused(self, exc: errors.SettingsError) -> None:
        """The numbers file is wrong; the numbers stay as they were."""
        self._log.error(logs.NUMBERS_REFUSED, problems=list(exc.problems))

    # the process

    def round_trip(self, took_s: float, scripts: Collection[str]) -> None:
        """Redis answered a pipeline with these scripts in it."""
        self._metrics.redis_round_trip.observe(took_s)
        for script in scripts:
            self._scripts(script).observe(took_s)

    def redis_lost(self) -> None:
        """Redis is away."""
        self._log.warning(logs.REDIS_LOST)

    def task_failed(self, task: str, exc: Exception) -> None:
        """A bug of ours showed in a task that goes on: it is tried again."""
        self._log.error(logs.TASK_FAILED, task=task, exc_info=exc)

    def redis_regained(self) -> None:
        """Redis is back, and knows again what this process knows."""
        self._metrics.redis_reconnects.inc()
        self._log.info(logs.REDIS_REGAINED)

    def redis_warned(self, text: str) -> None:
        """Redis is not set up as it should be."""
        self._log.warning(logs.REDIS_WARNED, reason=text)

    def job_refused(self, job: str, reason: str, detail: str) -> None:
        """A job of an arq producer was refused and listed."""
        self._metrics.intake_refused.labels(reason).inc()
        self._log.warning(logs.INTAKE_REFUSED, job=job, reason=reason, detail=detail)

    def job_queued(self) -> None:
        """A job of an arq producer was queued."""
        self._metrics.messages_accepted_by_intake.inc()

    def intake_restarted(self, exc: BaseException | None, after_s: float) -> None:
        """The arq worker ended and is started again in so many seconds."""
        self._log.warning(logs.INTAKE_RESTARTED, reason=type(exc).__name__ if exc else "", after_s=after_s)

    def process_event(self, event: str, **fields: Any) -> None:
        """Something about the process itself."""
        self._log.info(event, **fields)

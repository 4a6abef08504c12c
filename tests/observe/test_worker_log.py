"""What the log of a worker writes: metrics with documented labels only, and one event an attempt."""

import io
from collections.abc import Iterator

import pytest
import structlog
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.samples import Sample
from structlog.testing import capture_logs

from dispatcher.observe import logs
from dispatcher.observe.metrics import Metrics, harmless
from dispatcher.policy.bucket import Bucket
from dispatcher.policy.outcome import Answer, Lost, Reply, Unsent, Verdict
from dispatcher.policy.verdict import judge
from dispatcher.store.work import Batch, Claimed, Decided, Tended
from dispatcher.worker.in_flight import InFlight, settlement
from dispatcher.worker.log import WorkerLog
from tests.observe.docs import assert_documented

ERROR = {"error": {"code": 132000, "message": "(#132000) Number of parameters does not match"}}
TOKEN, PHONE = "EAAGm0PX4ZCpsBAKZCabcdefghij", "+15551234567"
REPLIES: dict[str, Reply] = {
    "accepted": Answer(200, {"messages": [{"id": "wamid.1"}]}),
    "snooze": Answer(400, {"error": {"code": 130429, "message": "Rate limit hit"}}),
    "retry_later": Answer(400, {"error": {"code": 999999, "message": "New", "is_transient": True}}),
    "reject": Answer(400, ERROR),
    "uncertain": Lost("reset"),
    "unsent": Unsent("refused"),
}


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """Whatever another test left configured may write to a stream that is closed by now."""
    structlog.reset_defaults()
    with capture_logs():
        yield


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def samples(registry: CollectorRegistry, name: str) -> list[Sample]:
    found = [sample for family in registry.collect() for sample in family.samples]
    return [sample for sample in found if sample.name == f"dispatcher_{name}"]


def judged(name: str) -> Verdict:
    return judge(REPLIES[name], streak=0, attempts=0, is_urgent=False, rand=0.5)


def in_flight() -> InFlight:
    return InFlight(Claimed("k1", 1, 0, "+15551234567", "f", 1_000_000, 0, b"{"), "106", 1_500_000)


def test_every_label_value_is_documented(metrics: Metrics) -> None:
    log = WorkerLog(metrics, "p")
    log.claimed(Batch("kept", 0, 0, 1, 1, 1, 1, 0, 1, Bucket(80, 2.2, 76.8), [in_flight().message]))
    for reply in REPLIES.values():
        log.post_began(in_flight(), 0.001)
        log.post_ended(in_flight(), judge(reply, streak=0, attempts=0, is_urgent=False, rand=0.5), 0.1)
    log.tended(Tended(more=0, unknown=0, uncertain=1, lapsed=1, expired=1, held=1, lost=1))
    log.decided(Decided(more=0, absent=3, unproven=2, held=1, exhausted=1, cancelled=1, later=1))
    for name, word in (("accepted", "accepted"), ("reject", "dead"), ("retry_later", "dead"), ("uncertain", "")):
        log.settled(settlement(in_flight(), judged(name), "f"), word)
    for reason in ("unreadable", "oversized", "misnamed", "refused"):
        log.job_refused("job", reason, "")
    for status in (101, 200, 302, 400, 429, 500):
        log.endpoint_answered(Answer(status, {}))
    log.endpoint_answered(Lost("reset"))
    log.endpoint_answered(Unsent("refused"))
    log.round_trip(0.001, ["claim"])
    assert_documented(metrics.registry, {"code", "version", "python"})
    classes = {sample.labels["class"]: sample.value for sample in samples(metrics.registry, "endpoint_requests_total")}
    assert classes == {"2xx": 1, "429": 1, "4xx": 1, "5xx": 1, "other": 2, "lost": 1, "unsent": 1}


def test_an_attempt_is_one_event_with_a_masked_recipient_and_no_body(metrics: Metrics) -> None:
    with capture_logs() as events:
        WorkerLog(metrics, "p").post_ended(in_flight(), judged("reject"), 0.1234)
    assert events == [
        {
            "event": "attempt.ended",
            "log_level": "info",
            "process": "p",
            "key": "k1",
            "claim": 1,
            "number": "106",
            "lane": "urgent",
            "recipient": "+1555•••4567",
            "outcome": "reject",
            "code": "132000",
            "error": "132000 Number of parameters does not match",
            "wamid": "",
            "duration_ms": 123.4,
        }
    ]


@pytest.mark.parametrize("code", [TOKEN, 132000, 10**8, -1, True, None, "132000", PHONE])
@pytest.mark.parametrize("status", [200, 400, 599])
def test_nothing_of_what_meta_or_a_producer_writes_reaches_the_log_unmasked(
    metrics: Metrics, out: io.StringIO, status: int, code: object
) -> None:
    secret = f"Bearer {TOKEN} {PHONE} {TOKEN}"
    error = {"code": code, "message": secret, "title": secret}
    answers: list[object] = [
        {"error": error}, {"messages": [{"id": secret}]}, {"messages": [{"id": "w", "message_status": secret}]},
    ]  # fmt: skip
    logs.set_up(stream=out)
    hostile = InFlight(Claimed(f"k-{PHONE}", 1, 0, secret, secret, 0, 0, f'{{"to":"{PHONE}"'.encode()), "106", 1)
    log = WorkerLog(metrics, "p")
    for body in answers:
        log.post_ended(hostile, judge(Answer(status, body), streak=0, attempts=0, is_urgent=False, rand=0.5), 0.1)
    assert out.getvalue().count('"event":"attempt.ended"') == len(answers)
    assert not {word for word in (TOKEN, PHONE[1:]) if word in out.getvalue()}


def test_a_gate_is_said_to_be_closed_once_for_all_that_was_in_flight(metrics: Metrics) -> None:
    log = WorkerLog(metrics, "p")
    with capture_logs() as events:
        for _ in range(80):
            log.post_ended(in_flight(), judged("snooze"), 0.15)
    assert [(event["number"], event["why"]) for event in events if event["event"] == "gate.closed"] == [
        ("106", "throttled")
    ]


class Heard:
    """An observer that fails when it is told to."""

    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []
        self.failure: Exception | None = None

    def told(self, what: str, *, of: int) -> None:
        self.heard.append((what, of))
        if self.failure is not None:
            raise self.failure


def test_an_observer_that_raises_is_counted_said_once_a_minute_and_dropped() -> None:
    registry, now_s, observer = CollectorRegistry(), [100.0], Heard()
    failures = Counter("failures", "Failures", ("method",), registry=registry)
    heard = harmless(observer, failures, lambda: now_s[0])
    heard.told("a", of=1)
    observer.failure = ValueError("no")
    with capture_logs() as events:
        for now_s[0] in (100.0, 101.0, 159.9, 160.0, 161.0):
            heard.told("b", of=2)
    assert observer.heard == [("a", 1), *[("b", 2)] * 5]
    assert registry.get_sample_value("failures_total", {"method": "told"}) == 5
    said = {"event": "observer.failed", "log_level": "error", "method": "told", "exc_info": observer.failure}
    assert events == [said, said]


def test_neither_a_broken_count_nor_a_broken_log_lets_an_observer_raise() -> None:
    def broken(*_: object) -> dict[str, object]:
        raise OSError("no space left")

    structlog.configure(processors=[broken])
    observer = Heard()
    observer.failure = ValueError("no")
    without_labels = Counter("failures", "Failures", registry=CollectorRegistry())  # `labels` raises
    harmless(observer, without_labels).told("a", of=1)
    assert observer.heard == [("a", 1)]

"""What the journal writes: metrics with documented labels only, and one event an attempt."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from dispatcher import logs
from dispatcher.flights import Flight
from dispatcher.journal import Journal
from dispatcher.lanes.serving import Batch, Claimed, Settlement, Tended
from dispatcher.policy.judge import judge
from dispatcher.policy.outcome import Answer, Lost, Reply, Unsent
from dispatcher.telemetry import Metrics

DOCS = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
ERROR = {"error": {"code": 132000, "message": "(#132000) Number of parameters does not match"}}
TOKEN, PHONE = "EAAGm0PX4ZCpsBAKZCabcdefghij", "+15551234567"
REPLIES: dict[str, Reply] = {
    "accepted": Answer(200, {"messages": [{"id": "wamid.1"}]}),
    "snooze": Answer(400, {"error": {"code": 130429, "message": "Rate limit hit"}}),
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


def flight() -> Flight:
    return Flight(Claimed("k1", 1, 0, "+15551234567", "f", 1_000_000, 0, b"{"), "106", 1_500_000)


def documented(label: str) -> set[str]:
    rows = re.findall(rf"^\| `{label}`(?: of `\w+`)? \| (.*) \|$", DOCS, re.MULTILINE)
    return set(re.findall(r"`([\w-]+)`", " ".join(rows)))


def test_every_label_value_is_documented(metrics: Metrics) -> None:
    journal = Journal(metrics, "p")
    journal.claimed(Batch("kept", 0, 0, 1, 1, 1, 1, 0, 1, [flight().message]))
    for reply in REPLIES.values():
        journal.departed(flight(), 0.001)
        journal.attempted(flight(), judge(reply, streak=0, rand=0.5), 0.1)
    journal.tended(Tended(False, False, 1, 1, 1, 1, 1, absent=3, unproven=2, cancelled=1))
    assert metrics.registry.get_sample_value("dispatcher_resends_total", {"proof": "absence"}) == 3
    assert metrics.registry.get_sample_value("dispatcher_resends_total", {"proof": "none"}) == 2
    for outcome, word in (("accepted", "accepted"), ("reject", "dead"), ("retry", "dead"), ("uncertain", "uncertain")):
        journal.settled(Settlement(flight().message, "106", 1, outcome), word)
    for reason in ("unreadable", "oversized", "misnamed", "refused"):
        journal.refused("job", reason, "")
    for family in metrics.registry.collect():
        for sample in family.samples:
            for label, value in sample.labels.items():
                if family.name.startswith("dispatcher_") and label in {
                    "outcome",
                    "cause",
                    "state",
                    "reason",
                    "why",
                    "lane",
                    "proof",
                }:
                    assert value in documented(label), (sample.name, label, value)


def test_an_attempt_is_one_event_with_a_masked_recipient_and_no_body(metrics: Metrics) -> None:
    with capture_logs() as events:
        Journal(metrics, "p").attempted(flight(), judge(REPLIES["reject"], streak=0, rand=0.5), 0.1234)
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
    hostile = Flight(Claimed(f"k-{PHONE}", 1, 0, secret, secret, 0, 0, f'{{"to":"{PHONE}"'.encode()), "106", 1)
    journal = Journal(metrics, "p")
    for body in answers:
        journal.attempted(hostile, judge(Answer(status, body), streak=0, rand=0.5), 0.1)
    assert out.getvalue().count('"event":"attempt.ended"') == len(answers)
    assert not {word for word in (TOKEN, PHONE[1:]) if word in out.getvalue()}


def test_a_gate_is_counted_as_closed_once_for_all_that_was_in_flight(metrics: Metrics) -> None:
    journal = Journal(metrics, "p")
    for _ in range(80):
        journal.attempted(flight(), judge(REPLIES["snooze"], streak=0, rand=0.5), 0.15)
    assert metrics.registry.get_sample_value("dispatcher_gate_closings_total", {"why": "throttled"}) == 1

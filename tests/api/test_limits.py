"""What one process has in hand at most, and that what it says of itself is documented."""

import asyncio
from typing import Any

import httpx
import pytest
import structlog
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from dispatcher import errors
from dispatcher.api.bodies import Bodies, TurnedAwayError
from dispatcher.api.journal import Journal
from dispatcher.api.metrics import ApiMetrics
from dispatcher.api.webhook_endpoint import Credentials, Door
from dispatcher.meta.webhook import Receipt
from dispatcher.store.receipts import Applied
from tests.api.meta import SECRET, WEBHOOKS, signed
from tests.observe.test_journal import assert_documented


class Sender:
    """The ASGI side of a request whose body comes in parts, the last when it is let go."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = list(parts)
        self.is_let_go = asyncio.Event()

    async def __call__(self) -> Any:
        if len(self.parts) == 1:
            await self.is_let_go.wait()
        return {"type": "http.request", "body": self.parts.pop(0), "more_body": bool(self.parts)}


async def test_all_bodies_together_are_bounded_and_room_comes_back() -> None:
    bodies = Bodies(in_hand_bytes_max=100)
    first, second = Sender(b"x" * 60, b"y"), Sender(b"x" * 60, b"y")

    async def read(sender: Sender) -> int:
        async with bodies.read(sender) as body:
            return len(body)

    reading = asyncio.create_task(read(first))
    await asyncio.sleep(0)
    with pytest.raises(TurnedAwayError, match="crowded"):
        await read(second)
    first.is_let_go.set()
    assert await reading == 61
    third = Sender(b"x" * 60, b"y")
    third.is_let_go.set()
    assert await read(third) == 61


class Careless:
    """A store that fails by a bug of ours."""

    misses = 0

    async def store(self, body: bytes, signature: str, content_type: str) -> bool:
        raise ZeroDivisionError

    def missed(self) -> None:
        self.misses += 1


async def test_a_bug_of_ours_is_answered_and_missed() -> None:
    store, metrics = Careless(), ApiMetrics(CollectorRegistry())
    door = Door(store, Credentials([SECRET.encode()], None), Journal(metrics, "p"), Bodies())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(door), base_url="http://x") as http:
        assert (await http.post(WEBHOOKS, content=b"{}", headers=signed(b"{}"))).status_code == 500
        assert store.misses == 1
        # and without a verify token nobody is answered
        query = {"hub.mode": "subscribe", "hub.verify_token": "", "hub.challenge": "1"}
        assert (await http.get(WEBHOOKS, params=query)).status_code == 403
    assert metrics.registry.get_sample_value("dispatcher_webhook_requests_total", {"outcome": "failed"}) == 1


@pytest.fixture
def _own_log(_quiet: None) -> None:
    structlog.reset_defaults()


@pytest.mark.usefixtures("_own_log")
def test_every_label_value_is_documented() -> None:
    metrics = ApiMetrics(CollectorRegistry())
    journal = Journal(metrics, "p", ["hooks.example"])
    outcomes = ("stored", "unsigned", "too_large", "slow", "gone", "unavailable", "crowded", "failed")
    with capture_logs() as events:
        for outcome in outcomes:
            journal.answered(outcome, 0.01)
        journal.missed()
        journal.missed()
        journal.stored(is_forwarded=False)
        for outcome in ("delivered", "refused", "away", "given_up"):
            journal.forwarded("hooks.example", outcome)
        for status in ("sent", "delivered", "read", "played", "failed", "pinned"):
            for pricing in ("", '{"billable":true}', '{"billable":false}'):
                journal.received(Receipt("wamid.1", status, 0, "1", "2", pricing=pricing), Applied("sent"))
        journal.received(Receipt("wamid.1", "sent", 0, "1", "2"), Applied("foreign"))
        for kind in ("inbound", "preference", "notice", "unreadable"):
            journal.took(kind, 1)
    assert_documented(metrics.registry, {"host", "version", "python"})
    counts = dict.fromkeys(outcomes[1:], 1)
    assert [event for event in events if event["event"] == "door.missed"] == [
        {"event": "door.missed", "log_level": "warning", "process": "p", **counts}
    ]


@pytest.mark.usefixtures("_own_log")
def test_an_outage_is_said_once() -> None:
    journal = Journal(ApiMetrics(CollectorRegistry()), "p")
    with capture_logs() as events:
        for _ in range(3):
            journal.away(errors.QueueUnavailable("Redis is away: ConnectionError"))
        journal.back()
        journal.back()
    assert [(event["event"], event.get("reason")) for event in events] == [
        ("redis.lost", "Redis is away: ConnectionError"),
        ("redis.regained", None),
    ]

"""What one process has in hand at most, and that what it says of itself is documented."""

import asyncio
from typing import Any

import httpx
import pytest
import structlog
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from structlog.testing import capture_logs

from dispatcher import errors
from dispatcher.api.forwarding import Forwarding
from dispatcher.api.journal import ApiJournal
from dispatcher.api.webhook_endpoint import BodyReader, Credentials, Inbox, TurnedAwayError, WebhookEndpoint
from dispatcher.api.webhook_worker import WebhookWorker
from dispatcher.meta.optout import Words
from dispatcher.meta.webhook import Receipt
from dispatcher.observe.metrics import ApiMetrics
from dispatcher.settings import Settings
from dispatcher.store.pipeline import Pipeline
from dispatcher.store.receipts import Applied
from dispatcher.store.schema import Cell
from dispatcher.store.scripts import Command
from tests.api.meta import SECRET, WEBHOOKS, signed
from tests.observe.docs import assert_documented
from tests.servers import PATIENCE_S


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
    bodies = BodyReader(in_hand_bytes_max=100)
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


class Careless(Pipeline):
    """Fails to store a webhook by a bug of ours."""

    async def run(self, command: Command[Any]) -> Any:
        if command.script is not None and command.script.name == "store":
            raise ZeroDivisionError
        return await super().run(command)


async def test_a_bug_of_ours_is_answered_and_missed(redis: Redis) -> None:
    pipeline, cell, metrics = Careless(redis), Cell(), ApiMetrics(CollectorRegistry())
    journal = ApiJournal(metrics, "p")
    inbox = Inbox(pipeline, cell, "p", Forwarding(pipeline, cell, "p", Settings(), journal), journal)
    await inbox.beat()
    gaps = [inbox.has_gap]
    worker = WebhookWorker(pipeline, cell, "p", Words(), journal)
    endpoint = WebhookEndpoint(inbox, worker, Credentials([SECRET.encode()], None), journal, BodyReader())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(endpoint), base_url="http://x") as http:
        assert (await http.post(WEBHOOKS, content=b"{}", headers=signed(b"{}"))).status_code == 500
        gaps.append(inbox.has_gap)
        assert gaps == [False, True]
        # and without a verify token nobody is answered
        query = {"hub.mode": "subscribe", "hub.verify_token": "", "hub.challenge": "1"}
        assert (await http.get(WEBHOOKS, params=query)).status_code == 403
    assert metrics.registry.get_sample_value("dispatcher_webhook_requests_total", {"outcome": "failed"}) == 1


async def test_what_is_stored_wakes_the_worker_and_who_passes_it_on(redis: Redis) -> None:
    """Both rest far longer than this test takes, unless they are woken."""
    pipeline, cell, journal = Pipeline(redis), Cell(), ApiJournal(ApiMetrics(CollectorRegistry()), "p")
    given: dict[str, Any] = {"webhook_forward_urls": "http://127.0.0.1:9/hook"}
    forwarding = Forwarding(pipeline, cell, "p", Settings(**given), journal)
    inbox = Inbox(pipeline, cell, "p", forwarding, journal)
    worker = WebhookWorker(pipeline, cell, "p", Words(), journal)
    endpoint = WebhookEndpoint(inbox, worker, Credentials([SECRET.encode()], None), journal, BodyReader())
    resting = [asyncio.create_task(each.wait(2 * PATIENCE_S)) for each in (worker, *forwarding.forwarders)]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(endpoint), base_url="http://x") as http:
        assert (await http.post(WEBHOOKS, content=b"{}", headers=signed(b"{}"))).status_code == 200
    assert len(resting) == 2
    await asyncio.wait_for(asyncio.gather(*resting), PATIENCE_S)


@pytest.fixture
def _own_log(_quiet: None) -> None:
    structlog.reset_defaults()


@pytest.mark.usefixtures("_own_log")
def test_every_label_value_is_documented() -> None:
    metrics = ApiMetrics(CollectorRegistry())
    journal = ApiJournal(metrics, "p")
    outcomes = ("stored", "unsigned", "too_large", "slow", "gone", "unavailable", "crowded", "failed")
    with capture_logs() as events:
        for outcome in outcomes:
            journal.answered(outcome, 0.01)
        journal.gap_recorded()
        journal.gap_recorded()
        for outcome in ("delivered", "refused", "away", "given_up", "no_room"):
            journal.forwarded("hooks.example", outcome)
        for status in ("sent", "delivered", "read", "played", "failed", "pinned"):
            for pricing in ("", '{"billable":true}', '{"billable":false}'):
                journal.receipt_applied(Receipt("wamid.1", status, 0, "1", "2", pricing=pricing), Applied("sent"))
        journal.receipt_applied(Receipt("wamid.1", "sent", 0, "1", "2"), Applied("foreign"))
        for kind in ("inbound", "preference", "notice", "unreadable"):
            journal.updates_applied(kind, 1)
    assert_documented(metrics.registry, {"host", "version", "python"})
    counts = dict.fromkeys(outcomes[1:], 1)
    assert [event for event in events if event["event"] == "webhooks.missed"] == [
        {"event": "webhooks.missed", "log_level": "warning", "process": "p", **counts}
    ]


@pytest.mark.usefixtures("_own_log")
def test_an_outage_is_said_once() -> None:
    journal = ApiJournal(ApiMetrics(CollectorRegistry()), "p")
    with capture_logs() as events:
        for _ in range(3):
            journal.redis_lost(errors.QueueUnavailable("Redis is away: ConnectionError"))
        journal.redis_regained()
        journal.redis_regained()
    assert [(event["event"], event.get("reason")) for event in events] == [
        ("redis.lost", "Redis is away: ConnectionError"),
        ("redis.regained", None),
    ]

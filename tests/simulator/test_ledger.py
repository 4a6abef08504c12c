import base64
import json
from typing import Any

import httpx
import pytest

from dispatcher.simulator import AnswerRule, SimulatedNumber, Simulator
from dispatcher.simulator.answers import Decision, accept, wamid_of
from dispatcher.simulator.ledger import SimulatorLedger, WebhookCounts
from dispatcher.simulator.send_request import SendRequest
from tests.simulator.wire import NUMBER, ONE_IN_A_LONG_TIME, PATH, Wire, filed, raw, text_to

MS = 1_000_000


def record(ledger: SimulatorLedger, key: str, at_ms: float, decision: Decision | None = None, claim: int = 1) -> str:
    post = SendRequest("1", ledger.started_ns + int(at_ms * MS), to="+15551234567", key=key, claim=claim)
    return ledger.record(post, decision or accept(None), 4.0)


def test_a_report_counts_what_was_recorded() -> None:
    ledger = SimulatorLedger()
    first = record(ledger, "a", 0)
    record(ledger, "b", 250, Decision("over_limit", 400, 130429))
    record(ledger, "b", 500, claim=2)
    second = record(ledger, "a", 750, claim=2)
    record(ledger, "c", 990, Decision("hang_before", 0))
    assert ledger.report() == {
        "requests": 5,
        "accepted": 3,
        "accepted_once": 1,
        "accepted_twice": {"count": 1, "keys": [{"key": "a", "wamids": [first, second]}]},
        "accepted_without_key": 0,
        "posted_after_acceptance": 1,
        "overlapping": {"count": 0, "keys": []},
        "over_limit": 1,
        "by_status": {"200": 3, "400": 1, "none": 1},
        "by_code": {"130429": 1},
        "by_outcome": {"accepted": 3, "over_limit": 1, "hang_before": 1},
        "faults": {"hang_before": 1},
        "webhooks": WebhookCounts().report(),
        "numbers": {
            "1": {
                "rate": 4.0,
                "requests": 5,
                "accepted": 3,
                "over_limit": 1,
                "first_arrival_ms": 0.0,
                "last_arrival_ms": 990.0,
                "used": pytest.approx(2 / 0.99 / 4),
                "largest_window": 5,
                "smallest_span_ms": 990.0,
                "smallest_margin_ms": -10.0,
            }
        },
    }


def test_what_was_accepted_twice_is_named_a_hundred_times_and_counted_beyond() -> None:
    ledger = SimulatorLedger()
    for place in range(300):
        record(ledger, str(place // 2), place)
    twice: Any = ledger.report()["accepted_twice"]
    assert (twice["count"], len(twice["keys"])) == (150, 100)


def test_messages_without_a_key_are_not_taken_for_each_other() -> None:
    ledger = SimulatorLedger()
    record(ledger, "", 0)
    record(ledger, "", 1)
    report = ledger.report()
    assert (report["accepted_without_key"], report["accepted_once"]) == (2, 0)
    assert report["accepted_twice"] == {"count": 0, "keys": []}


def test_wamids_go_on_after_a_reset() -> None:
    ledger = SimulatorLedger()
    wamids = [record(ledger, "a", 0)]
    ledger.reset()
    assert len(ledger) == 0
    wamids.append(record(ledger, "a", 0))
    assert len(set(wamids)) == 2
    assert ledger.accepted_wamids("a") == [wamids[1]]
    assert ledger.accepted_wamids("unknown") == []


def test_wamids_have_the_form_of_metas() -> None:
    """These two are in Meta's examples, of a message that a business sent and of one that it got."""
    sent, got = "70C6EBE6B4DCFA5CF5", "3A4A6599AEE03810144F"
    assert wamid_of("+16503879439", sent) == "wamid.HBgLMTY1MDM4Nzk0MzkVAgARGBI3MEM2RUJFNkI0RENGQTVDRjUA"
    assert wamid_of("16503879439", got, is_inbound=True) == (
        "wamid.HBgLMTY1MDM4Nzk0MzkVAgASGBQzQTRBNjU5OUFFRTAzODEwMTQ0RgA="
    )
    assert wamid_of("é" * 300, sent).startswith("wamid.HBj/")


def test_wamids_carry_the_recipient_and_are_all_different() -> None:
    ledgers = [SimulatorLedger(), SimulatorLedger()]
    wamids = [record(ledger, key, 0) for ledger in ledgers for key in ("a", "a", "b", "")]
    assert len(set(wamids)) == 8
    contents = [base64.b64decode(wamid.removeprefix("wamid."), validate=True) for wamid in wamids]
    assert all(content.startswith(b"\x1c\x18\x0b15551234567\x15\x02\x00\x11\x18\x12") for content in contents)
    assert [ledger.accepted_wamids("a") for ledger in ledgers] == [wamids[0:2], wamids[4:6]]
    assert [request["wamid"] for request in ledgers[1].requests()] == wamids[4:]


async def test_every_request_is_listed(simulator: Simulator, client: httpx.AsyncClient) -> None:
    simulator.rules.add(AnswerRule(code=131026, count=1))
    await client.post(PATH, json=text_to(key="a", claim=3))
    wamid = (await client.post(PATH, json=text_to(biz_opaque_callback_data="free"))).json()["messages"][0]["id"]
    listed = (await client.get("/_ledger/requests")).json()
    arrived_ms = [request.pop("arrived_ms") for request in listed]
    assert 0 < arrived_ms[0] < arrived_ms[1]
    assert listed == [
        {"key": "a", "claim": 3, "number": NUMBER, "outcome": "ruled", "status": 400, "code": 131026, "wamid": None},
        {
            "key": "free",
            "claim": None,
            "number": NUMBER,
            "outcome": "accepted",
            "status": 200,
            "code": None,
            "wamid": wamid,
        },
    ]


async def test_bodies_are_kept_when_asked_for(simulator: Simulator, client: httpx.AsyncClient) -> None:
    await client.post(PATH, json=text_to())
    assert [json.loads(body) for body in simulator.ledger.bodies] == [text_to()]


async def test_a_key_in_two_posts_at_the_same_time_is_named(simulator: Simulator) -> None:
    simulator.rules.add(AnswerRule(fault="hang_after"))
    wires = [await Wire.to(simulator.url) for _ in range(3)]
    for wire, key in zip(wires, ("same", "same", "other"), strict=True):
        wire.send(raw(text_to(key=key)))
    await filed(simulator, 3)
    for wire in wires:
        await wire.close()
    assert simulator.ledger.report()["overlapping"] == {"count": 1, "keys": ["same"]}


async def test_a_key_in_one_post_after_another_does_not_overlap(
    simulator: Simulator, client: httpx.AsyncClient
) -> None:
    for claim in range(5):
        await client.post(PATH, json=text_to(claim=claim))
    assert simulator.ledger.report()["overlapping"] == {"count": 0, "keys": []}


async def test_a_post_that_hangs_overlaps_until_its_connection_is_gone(simulator: Simulator) -> None:
    simulator.rules.add(AnswerRule(fault="hang_after", count=2))
    for claim in (1, 2):
        wire = await Wire.to(simulator.url)
        wire.send(raw(text_to(claim=claim)))
        await filed(simulator, claim)
        await wire.close()
    last = await Wire.to(simulator.url)
    last.send(raw(text_to(claim=3)))
    await last.answer()
    await last.close()
    report: Any = simulator.ledger.report()
    assert report["overlapping"] == {"count": 0, "keys": []}
    assert report["accepted_twice"]["keys"][0]["key"] == "order-1"
    assert len(report["accepted_twice"]["keys"][0]["wamids"]) == 3


async def test_another_rate_counts_from_then_on(simulator: Simulator, client: httpx.AsyncClient) -> None:
    simulator.add_number(NUMBER, SimulatedNumber(rate=ONE_IN_A_LONG_TIME))
    statuses = [(await client.post(PATH, json=text_to(key=key))).status_code for key in "ab"]
    simulator.add_number(NUMBER, SimulatedNumber(rate=100))
    statuses += [(await client.post(PATH, json=text_to(key=key))).status_code for key in "cd"]
    page: Any = simulator.ledger.report()["numbers"]
    assert statuses == [200, 400, 200, 200]
    assert page[NUMBER]["rate"] == 100

"""Receipts: an acceptance that is heard of late, states that only move forward, failures, other programs' messages."""

import itertools

import pytest

from dispatcher.store import queue, work
from dispatcher.store.receipts import Applied
from tests.store.cell import HOUR_US, NUMBER, OTHER, SECOND_US, WABA, Cell, keys_of

FORWARD = ("accepted", "sent", "delivered", "read", "played")


async def accepted(cell: Cell, key: str = "k1", **fields: object) -> None:
    await cell.settle(await cell.claimed(key, **fields), "accepted", "wamid.1")


@pytest.mark.parametrize("order", list(itertools.permutations(("sent", "delivered", "read"))))
async def test_states_only_move_forward_in_whatever_order_receipts_come(cell: Cell, order: tuple[str, ...]) -> None:
    await accepted(cell)
    highest = 0
    for status in order:
        highest = max(highest, FORWARD.index(status))
        assert await cell.receipt(status=status) == FORWARD[highest]
    assert await cell.state() == "read"
    told = [event["type"] for event in await cell.events()]
    assert told == ["accepted", *order]


async def test_played_is_beyond_read(cell: Cell) -> None:
    await accepted(cell)
    assert await cell.receipt(status="played") == "played"
    assert await cell.receipt(status="read") == "played"


@pytest.mark.parametrize("status", ["sent", "delivered", "read", "played", "failed", "warned"])
async def test_a_receipt_heard_again_changes_nothing(cell: Cell, status: str) -> None:
    await accepted(cell)
    assert await cell.receipt(status=status) != ""
    before, told = await cell.record(), await cell.told()
    assert await cell.receipt(status=status) == ""
    assert (await cell.record(), await cell.told()) == (before, told)


async def test_a_status_that_nobody_knows_is_told_and_moves_nothing(cell: Cell) -> None:
    await accepted(cell)
    assert await cell.receipt(status="warned") == "accepted"
    assert (await cell.told())[-1] == ("warned", "k1")


@pytest.mark.parametrize("state", ["sending", "uncertain", "queued", "held", "expired", "cancelled"])
async def test_a_receipt_proves_an_acceptance_in_every_state(cell: Cell, state: str) -> None:
    claimed = await cell.claimed()
    if state in {"uncertain", "held"}:
        await cell.settle(claimed, "uncertain")
    elif state != "sending":
        await cell.settle(claimed, "release")
    if state in {"held", "expired"}:
        await cell.end_time("k1")
        await cell.run(work.tend, "process-1")
    if state == "cancelled":
        await cell.run(queue.cancel, "k1")
    assert await cell.receipt() == "sent"
    record = await cell.record()
    assert (record["state"], record["wamid"], record["cause"]) == ("sent", "wamid.1", "")
    assert await cell.sets_of("k1") == set()
    assert [event["type"] for event in await cell.events()][-2:] == ["accepted", "sent"]
    # our own answer, which comes after it
    assert await cell.settle(claimed, "accepted", "wamid.1") == ""
    assert await cell.settle(claimed, "uncertain") == ""
    assert await cell.state() == "sent"


async def test_what_a_receipt_proved_costs_one_attempt(cell: Cell) -> None:
    await cell.claimed("k1")
    await cell.receipt("k1")
    await cell.settle(await cell.claimed("k2"), "uncertain")
    await cell.receipt("k2", wamid="wamid.2")
    assert [(await cell.record(key))["attempts"] for key in ("k1", "k2")] == ["1", "1"]


async def test_a_second_wamid_is_a_duplicate_and_both_are_named(cell: Cell) -> None:
    await accepted(cell)
    assert await cell.receipt(wamid="wamid.2") == "duplicate"
    event = (await cell.events())[-1]
    assert (event["type"], event["wamid"], event["cause"]) == ("duplicate", "wamid.2", "wamid.1")
    assert await cell.receipt(wamid="wamid.2", status="delivered") == ""
    assert await cell.receipt(wamid="wamid.3") == "duplicate"
    record = await cell.record()
    assert (record["wamid"], record["others"]) == ("wamid.1", "wamid.2 wamid.3")
    assert (await cell.told()).count(("duplicate", "k1")) == 2


async def test_messages_of_other_programs_are_passed_through_and_never_created(cell: Cell) -> None:
    await accepted(cell)
    assert await cell.receipt("unknown") == "foreign"
    assert await cell.receipt(callback="order=4711") == "foreign"
    assert await cell.receipt(number=OTHER) == "foreign"
    assert await cell.record("unknown") == {}
    assert (await cell.told())[1:] == [("sent", "")] * 3
    event = (await cell.events())[-1]
    assert (event["number"], event["wamid"]) == (OTHER, "wamid.1")


async def test_pricing_is_kept_with_the_event(cell: Cell) -> None:
    await accepted(cell, callback_data="order=1")
    await cell.receipt(pricing='{"billable":true}')
    event = (await cell.events())[-1]
    assert (event["type"], event["pricing"], event["extra"]) == (
        "sent", '{"billable":true}', '{"callback_data": "order=1"}',
    )  # fmt: skip


async def test_a_delivered_message_needs_no_body(cell: Cell) -> None:
    await accepted(cell)
    await cell.receipt(status="sent")
    assert await cell.redis.exists(cell.key("body:k1")) == 1
    await cell.receipt(status="delivered")
    assert await cell.redis.exists(cell.key("body:k1")) == 0


async def test_records_are_kept_no_longer_for_their_receipts(cell: Cell) -> None:
    await accepted(cell)
    await cell.redis.pexpire(cell.key("msg:k1"), 60_000)
    await cell.receipt(status="read")
    assert 0 < await cell.redis.pttl(cell.key("msg:k1")) <= 60_000


# failures


async def test_a_message_that_failed_for_good_is_dead(cell: Cell) -> None:
    await accepted(cell)
    assert await cell.receipt(status="failed", code=131026, error="131026 undeliverable") == "dead"
    record = await cell.record()
    assert (record["state"], record["cause"], record["error"]) == ("dead", "failed", "131026 undeliverable")
    assert await cell.sets_of("k1") == {"dead"}
    assert await cell.told() == [("accepted", "k1"), ("failed", "k1"), ("dead", "k1")]
    assert await cell.receipt(status="delivered") == "dead"  # told, and changes nothing


async def test_a_failure_on_an_uncertain_message_proves_the_acceptance_and_then_fails(cell: Cell) -> None:
    await cell.settle(await cell.claimed(), "uncertain")
    assert await cell.receipt(status="failed", code=131026, error="131026") == "dead"
    assert await cell.told() == [("uncertain", "k1"), ("accepted", "k1"), ("failed", "k1"), ("dead", "k1")]


async def test_a_failure_after_delivery_is_told_and_changes_nothing(cell: Cell) -> None:
    await accepted(cell)
    await cell.receipt(status="delivered")
    assert await cell.receipt(status="failed", code=131000, error="131000") == "delivered"


async def test_a_failure_that_passes_goes_back_to_its_lane_with_all_it_had(cell: Cell) -> None:
    fields = {"campaign": "spring", "callback_data": "order=1", "category": "marketing"}
    claimed = await cell.claimed("k1", **fields)
    before = await cell.record()
    await cell.settle(claimed, "accepted", "wamid.1")
    now = await cell.now()
    assert await cell.receipt(status="failed", code=131000, error="131000 unknown") == "queued"
    record = await cell.record()
    kept = ("number", "to", "priority", "category", "campaign", "fingerprint", "enqueued", "extra")
    assert {name: record[name] for name in kept} == {name: before[name] for name in kept}
    assert (record["state"], record["attempts"], record["error"]) == ("queued", "1", "131000 unknown")
    assert "wamid" not in record
    assert abs(int(record["expires"]) - int(before["expires"])) <= SECOND_US
    assert (await cell.score(f"lane:{NUMBER}:1", "k1") or 0) >= now + 30 * SECOND_US
    assert await cell.sets_of("k1") == {f"lane:{NUMBER}:1", "expiry"}
    assert await cell.redis.pttl(cell.key("body:k1")) == -1
    assert await cell.redis.pttl(cell.key("extra:k1")) == -1
    assert [event["type"] for event in await cell.events()] == ["accepted", "failed", "retry"]


async def test_what_is_heard_of_a_claim_that_failed_is_no_news(cell: Cell) -> None:
    await cell.settle(claimed := await cell.claimed(), "accepted", "wamid.1")
    await cell.receipt(status="failed", code=131000)
    for status in ("sent", "failed"):
        assert await cell.receipt(status=status) == ""
    assert await cell.settle(claimed, "accepted", "wamid.1") == ""  # told again after a reconnect
    assert await cell.state() == "queued"
    await cell.redis.zadd(cell.key(f"lane:{NUMBER}:1"), {"k1": 1})
    [second] = await cell.claim_all()
    assert second.claim == 2
    assert await cell.settle(second, "accepted", "wamid.2") == "accepted"
    assert await cell.receipt(status="sent", claim=1) == ""
    assert await cell.receipt(status="sent", claim=2, wamid="wamid.2") == "sent"


@pytest.mark.parametrize("why", ["no body", "no time", "no tries", "urgent"])
async def test_a_failure_that_passes_is_final_where_the_message_cannot_go_again(cell: Cell, why: str) -> None:
    fields = {"priority": "urgent"} if why == "urgent" else {"ttl_s": 20} if why == "no time" else {}
    claimed = await cell.claimed("k1", **fields)
    if why == "no tries":
        await cell.redis.hset(cell.key("msg:k1"), "attempts", "8")
    await cell.settle(claimed, "accepted", "wamid.1")
    if why == "no body":
        await cell.redis.delete(cell.key("body:k1"))
    assert await cell.receipt(status="failed", code=131000) == "dead"
    assert (await cell.record())["cause"] == "failed"


# one recipient, two phones


async def test_another_phone_of_the_same_recipient_is_remembered(cell: Cell) -> None:
    await accepted(cell, to="+5511987654321")
    await cell.receipt(recipient="+551187654321")
    assert await cell.redis.get(cell.key("same:+551187654321")) == b"+5511987654321"


@pytest.mark.parametrize("recipient", ["", "+15551234567", "US.abc"])
async def test_a_recipient_as_we_know_it_or_none_is_nothing_to_remember(cell: Cell, recipient: str) -> None:
    await accepted(cell)
    await cell.receipt(recipient=recipient)
    assert not [name async for name in cell.redis.scan_iter(match="*same:*")]


async def test_a_wish_made_under_another_phone_holds_from_then_on(cell: Cell) -> None:
    await cell.redis.hset(cell.key(f"suppressed:{WABA}:marketing"), "+551187654321", "1795000000 STOP")
    await accepted(cell, to="+5511987654321")
    await cell.receipt(recipient="+551187654321")
    await cell.queue("k2", to="+5511987654321", category="marketing")
    assert keys_of(await cell.claim_all()) == []
    assert (await cell.state("k2"), (await cell.record("k2"))["cause"]) == ("suppressed", "STOP")


# what absence is judged by


async def test_a_receipt_is_a_witness_for_its_number_and_template(cell: Cell) -> None:
    content = {"type": "template", "template": {"name": "shipped", "language": {"code": "en_US"}}}
    await accepted(cell, "k1", content=content)
    claimed_at = (await cell.record("k1"))["claimed"]
    await cell.receipt("k1")
    expected = {b"": claimed_at.encode(), b"shipped": claimed_at.encode()}
    assert await cell.redis.hgetall(cell.key(f"witness:{NUMBER}")) == expected
    await cell.redis.hset(cell.key(f"witness:{NUMBER}"), "", int(claimed_at) + HOUR_US)
    await cell.receipt("k1", "read")
    assert int(await cell.redis.hget(cell.key(f"witness:{NUMBER}"), "")) == int(claimed_at) + HOUR_US


async def test_a_receipt_of_an_earlier_claim_is_no_witness(cell: Cell) -> None:
    await cell.settle(await cell.claimed(), "release")
    await cell.claim_all()
    assert await cell.receipt(claim=1) == "sent"
    assert await cell.redis.exists(cell.key(f"witness:{NUMBER}")) == 0


async def test_a_thousand_receipts_in_one_call_stand_each_for_itself(cell: Cell) -> None:
    names = [f"k{i}" for i in range(20)]
    await cell.queue(*names)
    for claimed in await cell.claim_all():
        await cell.settle(claimed, "accepted", f"wamid.{claimed.key}")
    words = [await cell.receipt(name, wamid=f"wamid.{name}") for name in [*names, "unknown"]]
    assert words == ["sent"] * 20 + ["foreign"]


@pytest.mark.parametrize("priority", ["urgent", "normal", "bulk"])
async def test_the_first_that_says_it_arrived_says_how_long_that_took(cell: Cell, priority: str) -> None:
    await accepted(cell, priority=priority)
    assert await cell.applied(status="sent") == Applied("sent")
    applied = await cell.applied(status="read")
    assert (applied.word, applied.lane) == ("read", ("urgent", "normal", "bulk").index(priority))
    assert applied.delivered_after_s is not None
    assert 0 < applied.delivered_after_s < 5
    assert await cell.applied(status="delivered") == Applied("read")
    assert await cell.applied(status="played") == Applied("played")


async def test_an_acceptance_that_a_receipt_proved_has_no_time(cell: Cell) -> None:
    await cell.claimed()
    assert await cell.applied(status="delivered") == Applied("delivered")
    assert await cell.applied(status="read") == Applied("read")


async def test_what_failed_before_it_arrived_has_no_time(cell: Cell) -> None:
    await accepted(cell)
    assert await cell.applied(status="failed", code=131026) == Applied("dead")
    assert await cell.applied(status="delivered") == Applied("dead")

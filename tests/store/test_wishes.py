"""What people write and wish: opt-outs that the claim respects, inbound messages on their stream, debts of the gate."""

import json
from typing import Any

import pytest

from dispatcher.meta.webhook import Inbound, Notice, Preference, Unreadable
from dispatcher.store import numbers, receipts
from tests.store.cell import HOUR_US, NUMBER, RATE, WABA, Cell, keys_of, published

PERSON = "+15551234567"


def wish(*, stops: bool = True, at_s: int = 1_795_000_000, **fields: Any) -> Preference:
    given: dict[str, Any] = {"category": "marketing", "recipient": PERSON, "reason": "STOP", "waba": WABA, **fields}
    return Preference(number=NUMBER, stops=stops, at_s=at_s, **given)


def written(wamid: str = "wamid.in", text: str = "hello") -> Inbound:
    return Inbound(wamid, PERSON, NUMBER, WABA, 1_795_000_000, "text", text, '{"type":"text"}')


async def known(cell: Cell, waba: str = WABA) -> None:
    await cell.run(numbers.publish, [published(NUMBER, "otp", RATE, waba)])


async def stream(cell: Cell, name: str) -> list[dict[str, str]]:
    entries = await cell.redis.xrange(cell.key(name))
    return [{field.decode(): value.decode() for field, value in fields.items()} for _, fields in entries]


# opt-outs


async def test_who_opted_out_is_not_written_to_and_only_in_that_category(cell: Cell) -> None:
    await cell.run(receipts.prefer, [wish()])
    await cell.queue("ad", category="marketing")
    await cell.queue("order", category="utility")
    await cell.queue("other", category="marketing", to="+15557654321")
    assert keys_of(await cell.claim_all()) == ["order", "other"]
    record = await cell.record("ad")
    assert (record["state"], record["cause"]) == ("suppressed", "STOP")
    assert await cell.sets_of("ad") == set()
    assert await cell.redis.exists(cell.key("body:ad")) == 0
    assert await cell.told() == [("suppressed", "ad")]


async def test_a_suppressed_message_costs_no_token_and_is_counted(cell: Cell) -> None:
    await cell.run(receipts.prefer, [wish()])
    await cell.queue("ad", category="marketing")
    await cell.own()
    batch = await cell.claim()
    assert (batch.suppressed, batch.messages) == (1, [])
    assert float((await cell.gate())["tokens"]) == 1 + 0.015 * RATE


async def test_who_wants_messages_again_gets_them(cell: Cell) -> None:
    assert await cell.run(receipts.prefer, [wish()]) == 1
    assert await cell.run(receipts.prefer, [wish(stops=False, at_s=1_795_000_001)]) == 1
    await cell.queue("ad", category="marketing")
    assert keys_of(await cell.claim_all()) == ["ad"]


async def test_a_wish_heard_again_or_late_changes_nothing(cell: Cell) -> None:
    await cell.run(receipts.prefer, [wish(at_s=5)])
    await cell.run(receipts.prefer, [wish(stops=False, at_s=9)])
    assert await cell.run(receipts.prefer, [wish(at_s=5)]) == 0  # the same webhook once more
    await cell.queue("ad", category="marketing")
    assert keys_of(await cell.claim_all()) == ["ad"]
    assert await cell.run(receipts.prefer, [wish(at_s=10)]) == 1
    assert await cell.run(receipts.prefer, [wish(stops=False, at_s=9)]) == 0


async def test_a_wish_holds_for_the_phone_that_we_know_the_recipient_by(cell: Cell) -> None:
    await cell.redis.set(cell.key("same:+551187654321"), "+5511987654321")
    await cell.run(receipts.prefer, [wish(recipient="+551187654321")])
    await cell.queue("ad", category="marketing", to="+5511987654321")
    assert await cell.claim_all() == []
    assert await cell.state("ad") == "suppressed"


async def test_the_account_is_the_one_that_the_workers_know(cell: Cell) -> None:
    """A numbers file may leave it out; Meta never does."""
    await known(cell, waba="")
    await cell.run(receipts.prefer, [wish()])
    await cell.queue("ad", category="marketing")
    assert await cell.claim_all(waba_id="") == []
    assert await cell.state("ad") == "suppressed"


async def test_a_million_others_who_opted_out_cost_one_look(cell: Cell) -> None:
    await cell.run(receipts.prefer, [wish(recipient=f"+1555{i:07d}") for i in range(1000)])
    await cell.queue(*(f"k{i}" for i in range(20)), category="marketing", to="+15559999999")
    assert len(await cell.claim_all()) == 20


# inbound messages


async def test_what_people_write_goes_to_its_stream_once(cell: Cell) -> None:
    await known(cell)
    assert await cell.run(receipts.inbound, [written("wamid.1"), written("wamid.2")]) == 2
    assert await cell.run(receipts.inbound, [written("wamid.1"), written("wamid.3")]) == 1
    entries = await stream(cell, "inbound")
    assert [entry["wamid"] for entry in entries] == ["wamid.1", "wamid.2", "wamid.3"]
    first = entries[0]
    assert abs(int(first.pop("at")) * 1000 - await cell.now()) < HOUR_US
    assert first == {
        "v": "1", "type": "message", "number": NUMBER, "waba": WABA, "wamid": "wamid.1", "sender": PERSON,
        "kind": "text", "text": "hello", "raw": '{"type":"text"}',
    }  # fmt: skip


async def test_inbound_messages_debit_the_gate_and_the_debt_is_paid_first(cell: Cell) -> None:
    await known(cell)
    await cell.queue("k1")
    await cell.own()
    await cell.fix_tokens(2)
    await cell.run(receipts.inbound, [written(f"wamid.{i}") for i in range(5)])
    await cell.set_gate(at=await cell.now() + HOUR_US)  # nothing flows in
    assert float((await cell.gate())["tokens"]) == pytest.approx(-3)
    batch = await cell.claim()
    assert batch.messages == []
    await cell.refill()
    await cell.own()
    assert keys_of((await cell.claim()).messages) == ["k1"]


async def test_a_bucket_that_was_full_long_ago_is_debited_too(cell: Cell) -> None:
    await known(cell)
    await cell.set_gate(tokens=0, at=await cell.now() - HOUR_US)
    await cell.run(receipts.inbound, [written()])
    assert float((await cell.gate())["tokens"]) == pytest.approx(0.015 * RATE)


async def test_debts_are_a_second_at_most(cell: Cell) -> None:
    await known(cell)
    await cell.run(receipts.inbound, [written(f"wamid.{i}") for i in range(300)])
    assert float((await cell.gate())["tokens"]) == pytest.approx(-0.96 * RATE)
    await cell.set_gate(tokens=-1e15)
    await cell.queue("k1")
    await cell.own()
    await cell.claim()
    assert float((await cell.gate())["tokens"]) >= -0.96 * RATE


async def test_messages_to_a_number_of_somebody_else_are_passed_on_and_debit_nothing(cell: Cell) -> None:
    assert await cell.run(receipts.inbound, [written()]) == 1
    assert await cell.gate() == {}


# news, and what cannot be read


async def test_news_go_to_their_stream_once(cell: Cell) -> None:
    notice = Notice("message_template_status_update", WABA, 1_795_000_000, '{"event":"PAUSED"}')
    assert await cell.run(receipts.notice, [notice]) == 1
    assert await cell.run(receipts.notice, [notice]) == 0
    [entry] = await stream(cell, "updates")
    assert (entry["type"], entry["waba"], entry["raw"]) == (
        "message_template_status_update", WABA, '{"event":"PAUSED"}',
    )  # fmt: skip


@pytest.mark.parametrize("is_receipt", [True, False])
async def test_what_cannot_be_read_is_kept_aside_and_may_be_a_gap(cell: Cell, is_receipt: bool) -> None:
    assert await cell.run(receipts.keep_unreadable, [Unreadable("no status", '{"id":1}', is_receipt)]) == 1
    [row] = await cell.redis.lrange(cell.key("unreadable"), 0, -1)
    found = json.loads(row)
    assert (found["reason"], found["raw"]) == ("no status", '{"id":1}')
    assert await cell.redis.hexists(cell.key("door"), "gap") == is_receipt


async def test_the_list_of_the_unreadable_is_capped(cell: Cell) -> None:
    for _ in range(3):
        count = await cell.run(receipts.keep_unreadable, [Unreadable("no JSON", "x" * 100_000, is_receipt=True)] * 500)
    assert count == 1000
    assert len(await cell.redis.lindex(cell.key("unreadable"), 0)) < 30_000

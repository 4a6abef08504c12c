"""Decisions about uncertain messages: each condition under which silence proves that a message was not accepted, alone."""

import itertools

import pytest

from dispatcher.store import queue, webhooks, work
from dispatcher.store.schema import DOOR_SILENT_S
from dispatcher.store.work import Claimed, Decided
from tests.store.cell import HOUR_US, NUMBER, OTHER, SECOND_US, Cell, template, unpacked

WINDOW_US = 60 * SECOND_US
SILENT_US = DOOR_SILENT_S * SECOND_US
DOOR = "door"
COUNT = itertools.count(1)


async def uncertain(cell: Cell, key: str = "k1", windows: int = 1, **fields: object) -> Claimed:
    """A message whose answer was lost, and whose window has passed so many times."""
    claimed = await cell.claimed(key, on_uncertain="evidence", **fields)
    await cell.settle(claimed, "uncertain", error="lost timeout")
    await age(cell, key, windows)
    return claimed


async def age(cell: Cell, key: str, windows: int = 1) -> None:
    """Move a message's claim and its loss back, as if its look after so many windows were due now."""
    now = await cell.now()
    since = now - windows * WINDOW_US
    await cell.redis.hset(cell.key("msg:" + key), mapping={"since": since, "claimed": since - SECOND_US})
    await cell.redis.zadd(cell.key("uncertain"), {key: now})


async def all_conditions(cell: Cell, number: str = NUMBER, template: str = "") -> None:
    """A door without a gap for an hour, everything worked off, and a receipt of a message claimed just now."""
    now = await cell.now()
    await cell.redis.hset(cell.key(DOOR), mapping={"gap": now - HOUR_US, "seen": now})
    await cell.redis.zadd(cell.key("doors"), {"door-1": now})
    await cell.run(webhooks.create_group, cell.key("webhooks"))
    await cell.redis.hset(cell.key(f"witness:{number}"), template, now)


async def decided(cell: Cell) -> Decided:
    await cell.run(work.tend, "process-1")
    return await cell.run(work.decide)


async def test_silence_under_all_conditions_proves_that_it_was_not_accepted(cell: Cell) -> None:
    await uncertain(cell)
    await all_conditions(cell)
    assert (await decided(cell)).absent == 1
    record = await cell.record()
    assert (record["state"], record["attempts"]) == ("queued", "1")
    assert "unproven" not in record
    assert await cell.sets_of("k1") == {f"lane:{NUMBER}:1", "expiry"}
    event = (await cell.events())[-1]
    assert (event["type"], event["cause"]) == ("resend", "absence")
    [again] = await cell.claim_all()
    assert again.claim == 2


REASONS = {
    "no door": "no webhook door",
    "door shut": "webhook door is shut",
    "door silent": "a webhook door is silent",
    "another door silent": "a webhook door is silent",
    "gap": "webhook door had a gap",
    "clock behind the webhooks": "the clock stepped back",
    "clock behind a door": "the clock stepped back",
    "intake behind": "webhooks not worked off",
    "no stream": "webhooks not worked off",
    "no witness": "no receipt of a later message",
    "witness too early": "no receipt of a later message",
    "another number's": "no receipt of a later message",
}


CONDITIONS = list(REASONS)


async def break_condition(cell: Cell, broken: str) -> None:
    now, witness = await cell.now(), cell.key(f"witness:{NUMBER}")
    since = int((await cell.record())["since"])
    match broken:
        case "no door":
            await cell.redis.delete(cell.key(DOOR))
        case "door shut":
            await cell.run(webhooks.beat, "door-1", gap=True, forwards=(), is_last=True)
            await cell.redis.hset(cell.key(DOOR), "gap", now - HOUR_US)
        case "door silent":
            await cell.redis.zadd(cell.key("doors"), {"door-1": now - SILENT_US})
        case "another door silent":
            await cell.redis.zadd(cell.key("doors"), {"door-2": now - SILENT_US})
        case "gap":
            await cell.redis.hset(cell.key(DOOR), "gap", (await cell.record())["claimed"])
        case "intake behind":
            await cell.redis.xadd(cell.key("webhooks"), {"body": "{}"}, id=f"{since // 1000 + 1}-0")
            await cell.redis.hset(cell.key("msg:k1"), "mark", f"{since} {now // 1000}-0")  # seen at an earlier look
        case "clock behind the webhooks":
            stored = await cell.redis.xadd(cell.key("webhooks"), {"body": "{}"}, id=f"{now // 1000 + 60_000}-0")
            await cell.redis.xdel(cell.key("webhooks"), stored)
        case "clock behind a door":
            await cell.redis.zadd(cell.key("doors"), {"door-2": now + HOUR_US})
        case "no stream":
            await cell.redis.delete(cell.key("webhooks"))
        case "no witness":
            await cell.redis.delete(witness)
        case "witness too early":
            await cell.redis.hset(witness, "", since + WINDOW_US // 2 - 1)
        case "another number's":
            await cell.redis.rename(witness, cell.key(f"witness:{OTHER}"))


@pytest.mark.parametrize("broken", CONDITIONS)
async def test_each_condition_alone_keeps_silence_from_being_proof(cell: Cell, broken: str) -> None:
    await uncertain(cell)
    await all_conditions(cell)
    await break_condition(cell, broken)
    since = int((await cell.record())["since"])
    found = await decided(cell)
    assert (found.absent, found.unproven, found.held) == (0, 0, 0)
    assert (await cell.record())["cause"] == REASONS[broken]
    assert await cell.sets_of("k1") == {"uncertain", "expiry"}
    later = (await cell.score("uncertain", "k1") or 0) - since
    assert later == pytest.approx(2 * WINDOW_US, abs=SECOND_US)


@pytest.mark.parametrize("broken", CONDITIONS)
async def test_after_eight_windows_it_is_held_and_the_condition_named(cell: Cell, broken: str) -> None:
    await uncertain(cell, windows=8)
    await all_conditions(cell)
    await break_condition(cell, broken)
    assert (await decided(cell)).held == 1
    record = await cell.record()
    assert (record["state"], record["cause"], record["error"]) == ("dead", "held", REASONS[broken])
    assert await cell.redis.exists(cell.key("body:k1")) == 1
    assert (await cell.told())[-1] == ("dead", "k1")


async def test_a_condition_that_holds_again_at_a_later_look_is_proof_then(cell: Cell) -> None:
    await uncertain(cell)
    assert (await decided(cell)).absent == 0
    await age(cell, "k1", windows=2)
    await all_conditions(cell)
    assert (await decided(cell)).absent == 1


async def test_looks_come_after_one_two_four_and_eight_windows(cell: Cell) -> None:
    await uncertain(cell)
    found = []
    for windows in (1, 2, 4):
        await age(cell, "k1", windows)
        since = int((await cell.record())["since"])
        await decided(cell)
        found.append(round(((await cell.score("uncertain", "k1") or 0) - since) / WINDOW_US))
    assert found == [2, 4, 8]


async def test_a_witness_half_a_window_later_is_enough(cell: Cell) -> None:
    await uncertain(cell)
    await all_conditions(cell)
    since = int((await cell.record())["since"])
    await cell.redis.hset(cell.key(f"witness:{NUMBER}"), "", since + WINDOW_US // 2)
    assert (await decided(cell)).absent == 1


# webhooks that are not worked off


async def look_was_due(cell: Cell, ago_us: int) -> None:
    """Let the look at a message be late, as if no worker had been there."""
    await cell.redis.zadd(cell.key("uncertain"), {"k1": await cell.now() - ago_us})


async def stored(cell: Cell, ago_us: int) -> bytes:
    """A body that the door stored then, by its clock, and nobody has worked off."""
    at_ms = (await cell.now() - ago_us) // 1000
    found: bytes = await cell.redis.xadd(cell.key("webhooks"), {"body": "{}"}, id=f"{at_ms}-{next(COUNT)}")
    return found


async def test_what_was_stored_before_now_counts_also_if_it_looks_later_than_the_look(cell: Cell) -> None:
    """A clock that stepped back between the two gave the body a later time than the message."""
    await uncertain(cell)
    await all_conditions(cell)
    await look_was_due(cell, 10 * SECOND_US)
    await stored(cell, 5 * SECOND_US)
    assert (await decided(cell)).absent == 0
    assert await cell.state() == "uncertain"
    assert (await cell.record())["cause"] == "webhooks not worked off"


async def test_what_is_worked_off_soon_delays_a_decision_by_a_second(cell: Cell) -> None:
    await uncertain(cell)
    await all_conditions(cell)
    now, body = await cell.now(), await stored(cell, 0)
    await decided(cell)
    assert (await cell.score("uncertain", "k1") or 0) - now == pytest.approx(SECOND_US, abs=SECOND_US // 2)
    await cell.redis.xdel(cell.key("webhooks"), body)
    await look_was_due(cell, 0)
    assert (await decided(cell)).absent == 1
    assert "mark" not in await cell.record()


async def test_webhooks_that_never_end_keep_no_decision_from_being_made(cell: Cell) -> None:
    """What came after the first look does not matter: the window had passed by then."""
    await uncertain(cell)
    await all_conditions(cell)
    first = await stored(cell, 0)
    assert (await decided(cell)).absent == 0
    await stored(cell, 0)
    await cell.redis.xdel(cell.key("webhooks"), first)
    await look_was_due(cell, 0)
    assert (await decided(cell)).absent == 1


async def test_a_look_at_an_earlier_claim_counts_for_no_later_one(cell: Cell) -> None:
    claimed = await uncertain(cell)
    await all_conditions(cell)
    await stored(cell, 0)
    await decided(cell)
    assert "mark" in await cell.record()
    await cell.settle(claimed, "release")
    [again] = await cell.claim_all()
    await cell.settle(again, "uncertain")
    await age(cell, "k1")
    await all_conditions(cell)
    await cell.redis.delete(cell.key("webhooks"))
    await cell.run(webhooks.create_group, cell.key("webhooks"))
    await stored(cell, 0)
    assert (await decided(cell)).absent == 0


# doors


async def test_a_door_that_says_goodbye_is_waited_for_no_longer(cell: Cell) -> None:
    await uncertain(cell)
    await all_conditions(cell)
    await break_condition(cell, "another door silent")
    await cell.redis.zadd(cell.key("doors"), {"door-2": await cell.now()})
    await cell.run(webhooks.beat, "door-2", gap=True, forwards=(), is_last=True)
    await cell.redis.hset(cell.key(DOOR), "gap", await cell.now() - HOUR_US)  # its start
    assert (await decided(cell)).absent == 1


async def test_a_template_needs_a_witness_of_its_own(cell: Cell) -> None:
    await uncertain(cell, content=template("shipped"))
    await all_conditions(cell)
    assert (await decided(cell)).absent == 0
    assert (await cell.record())["cause"] == "no receipt of a later message"
    await age(cell, "k1")
    await all_conditions(cell, template="shipped")
    assert (await decided(cell)).absent == 1


async def test_a_template_that_meta_held_back_proves_nothing_for_a_day(cell: Cell) -> None:
    held = await cell.claimed("k0", content=template("shipped"))
    await cell.settle(held, "accepted", "wamid.0", error="held")
    await uncertain(cell, content=template("shipped"))
    await all_conditions(cell, template="shipped")
    assert (await decided(cell)).absent == 0
    assert (await cell.record())["cause"] == "template held back by Meta"
    await age(cell, "k1")
    await cell.redis.hset(cell.key("held"), "shipped", await cell.now() - 24 * HOUR_US)
    assert (await decided(cell)).absent == 1


async def test_another_template_held_back_does_not_matter(cell: Cell) -> None:
    await cell.redis.hset(cell.key("held"), "another", await cell.now())
    await uncertain(cell, content=template("shipped"))
    await all_conditions(cell, template="shipped")
    assert (await decided(cell)).absent == 1


async def test_a_receipt_in_time_leaves_nothing_to_decide(cell: Cell) -> None:
    await uncertain(cell)
    await all_conditions(cell)
    assert await cell.receipt() == "sent"
    found = await decided(cell)
    assert (found.absent, found.held) == (0, 0)
    assert await cell.state() == "sent"


async def test_before_the_window_has_passed_nothing_is_decided(cell: Cell) -> None:
    await cell.settle(await cell.claimed(), "uncertain")
    await all_conditions(cell)
    assert (await decided(cell)).absent == 0
    assert await cell.state() == "uncertain"


# the message's own policy


async def resendable(cell: Cell, key: str = "k1") -> None:
    claimed = await cell.claimed(key, on_uncertain="resend")
    await cell.settle(claimed, "uncertain")
    await age(cell, key)


async def test_resend_goes_again_without_evidence_and_is_marked_and_told(cell: Cell) -> None:
    await resendable(cell)
    assert (await decided(cell)).unproven == 1
    record = await cell.record()
    assert (record["state"], record["unproven"]) == ("queued", "1")
    event = (await cell.events())[-1]
    assert (event["type"], event["cause"]) == ("resend", "unproven")
    [again] = await cell.claim_all()
    await cell.settle(again, "accepted", "wamid.2")
    found = await cell.run(queue.look, "k1")  # for as long as it is known
    assert found is not None
    assert (found.state, found.unproven) == ("accepted", 1)


async def test_resend_with_evidence_is_not_marked(cell: Cell) -> None:
    await resendable(cell)
    await all_conditions(cell)
    found = await decided(cell)
    assert (found.absent, found.unproven) == (1, 0)
    assert "unproven" not in await cell.record()


async def test_resend_goes_twice_at_most_and_then_waits_for_evidence(cell: Cell) -> None:
    await resendable(cell)
    for _ in range(2):
        assert (await decided(cell)).unproven == 1
        [again] = await cell.claim_all()
        await cell.settle(again, "uncertain")
        await age(cell, "k1")
    found = await decided(cell)
    assert (found.unproven, found.absent, found.held) == (0, 0, 0)
    assert await cell.state() == "uncertain"


async def test_what_was_sent_again_without_proof_is_never_plainly_expired(cell: Cell) -> None:
    await resendable(cell)
    await decided(cell)
    await cell.end_time("k1")
    assert (await cell.run(work.tend, "process-1")).held == 1
    record = await cell.record()
    assert (record["state"], record["cause"]) == ("dead", "held")


async def test_the_claim_too_holds_what_was_sent_again_without_proof(cell: Cell) -> None:
    await resendable(cell)
    await decided(cell)
    await cell.end_time("k1")
    assert await cell.claim_all() == []
    assert await cell.state() == "dead"


async def test_nothing_is_sent_again_past_its_time(cell: Cell) -> None:
    await resendable(cell)
    await cell.end_time("k1")
    assert (await cell.run(work.tend, "process-1")).held == 1
    assert await cell.state() == "dead"


@pytest.mark.parametrize("proof", [True, False])
async def test_a_cancelled_message_is_not_sent_again(cell: Cell, proof: bool) -> None:
    await resendable(cell)
    assert await cell.run(queue.cancel, "k1") == ("marked", "uncertain")
    if proof:
        await all_conditions(cell)
    found = await decided(cell)
    assert (found.cancelled, found.unproven) == (int(proof), 0)
    assert await cell.state() == ("cancelled" if proof else "uncertain")


async def test_attempts_that_are_used_up_end_it(cell: Cell) -> None:
    await uncertain(cell)
    await cell.redis.hset(cell.key("msg:k1"), "attempts", "9")
    await all_conditions(cell)
    assert (await decided(cell)).absent == 0
    record = await cell.record()
    assert (record["state"], record["cause"]) == ("dead", "exhausted")


async def test_what_may_go_again_goes_to_the_front_of_its_lane(cell: Cell) -> None:
    await uncertain(cell)
    await cell.queue("older")
    await cell.redis.zadd(cell.cell.lane(NUMBER, 1), {"older": 1_000_000})
    await all_conditions(cell)
    await decided(cell)
    assert (await cell.lane())[0] == "k1"


async def test_the_number_is_due_when_a_message_may_go_again(cell: Cell) -> None:
    await uncertain(cell)
    await cell.redis.hdel(cell.cell.gate(NUMBER), "owner")
    await cell.redis.zrem(cell.key("due"), NUMBER)
    await all_conditions(cell)
    await decided(cell)
    assert (await cell.score("due", NUMBER) or 0) <= await cell.now()


# trouble


async def test_a_record_that_is_gone_is_lost_and_harms_no_other(cell: Cell) -> None:
    await uncertain(cell, "k1")
    await uncertain(cell, "k2")
    await all_conditions(cell)
    await cell.redis.delete(cell.key("msg:k1"))
    assert (await decided(cell)).absent == 1
    assert await cell.state("k1") == "dead"
    assert await cell.state("k2") == "queued"


async def test_a_stray_leaves_the_list(cell: Cell) -> None:
    await cell.queue("k1")
    await cell.redis.zadd(cell.key("uncertain"), {"k1": 1})
    await decided(cell)
    assert await cell.sets_of("k1") == {f"lane:{NUMBER}:1", "expiry"}


async def test_a_claim_that_ended_late_still_wins(cell: Cell) -> None:
    claimed = await uncertain(cell)
    await all_conditions(cell)
    await decided(cell)
    assert await cell.settle(claimed, "accepted", "wamid.1") == "accepted"
    assert await cell.sets_of("k1") == set()
    assert unpacked((await cell.redis.get(cell.key("msg:k1"))).decode())["state"] == "accepted"


@pytest.mark.parametrize("name", ["door", "doors", "webhooks", "held", f"witness:{NUMBER}"])
async def test_what_is_not_what_it_should_be_proves_nothing_and_stops_nothing(cell: Cell, name: str) -> None:
    await uncertain(cell, content=template("shipped"))
    await all_conditions(cell, template="shipped")
    await cell.redis.delete(cell.key(name))
    await cell.redis.set(cell.key(name), "junk")
    found = await decided(cell)
    assert (found.absent, found.held) == (0, 0)

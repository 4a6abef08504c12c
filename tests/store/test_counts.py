"""Counters of the cell: each change is counted once, by the script that makes it, whichever way it comes about.

What happened is told twice: as events for consumers and as counts for metrics. The two must agree. Nothing tells of what
is enqueued and of gates that close, so those are compared with what a test did.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from dispatcher import errors
from dispatcher.exporter.collector import COUNTERS
from dispatcher.meta.webhook import Preference
from dispatcher.policy.outcome import Why
from dispatcher.store import cell as cells
from dispatcher.store import queue, receipts, stops, work
from dispatcher.store.work import Claimed
from tests.store.cell import HOUR_US, NUMBER, OTHER, WABA, Cell, message, template
from tests.store.test_decide import age, all_conditions
from tests.store.test_poison import poison

Counts = Counter[tuple[str, ...]]
Arrow = Callable[[Cell], Awaitable[None]]

SETTLED = ("accepted", "expired", "cancelled", "suppressed", "dead")
ARROWS: dict[str, tuple[Arrow, Counts]] = {}
QUEUED = ("enqueued", "normal")
ACCEPTED = ("settled", "accepted", "none")
EXPIRED = ("settled", "expired", "none")
CANCELLED = ("settled", "cancelled", "none")
SUPPRESSED = ("settled", "suppressed", "none")
LOST_ANSWER = ("uncertain", "answer")
LOST_WORKER = ("uncertain", "lease")
TWICE = ("accepted_again",)
PROVED = ("resent", "absence")
UNPROVED = ("resent", "none")


def dead(cause: str) -> tuple[str, ...]:
    return ("settled", "dead", cause)


def closed(why: Why) -> tuple[str, ...]:
    return ("gate_closed", why.value)


def counts(*names: tuple[str, ...]) -> Callable[[Arrow], Arrow]:
    """What an arrow of the state diagram counts, and nothing else. Its name is that of its message."""

    def keep(arrow: Arrow) -> Arrow:
        ARROWS[arrow.__name__] = arrow, Counter(names)
        return arrow

    return keep


async def happened(cell: Cell) -> Counts:
    found: Mapping[tuple[str, ...], int] = await cell.run(cells.happened)
    return Counter(found)


async def told(cell: Cell) -> Counts:
    """The same by the events, for all that there are events of."""
    found: Counts = Counter()
    for event in await cell.events():
        kind, cause = event["type"], event["cause"]
        if kind in SETTLED:
            found["settled", kind, cause if kind == "dead" else "none"] += 1
        elif kind == "uncertain":
            found["uncertain", "lease" if event["error"] == "lease ended" else "answer"] += 1
        elif kind == "resend":
            found["resent", cause if cause == "absence" else "none"] += 1
        elif kind == "duplicate":
            found["accepted_again",] += 1
    return found


def has_events(found: Counts) -> Counts:
    return Counter({name: count for name, count in found.items() if name[0] not in {"enqueued", "gate_closed"}})


# what the arrows have in common


async def change(cell: Cell, key: str, **fields: str | int) -> None:
    await cell.redis.hset(cell.key(f"msg:{key}"), mapping=fields)


async def is_uncertain(cell: Cell, key: str, **fields: str) -> Claimed:
    claimed = await cell.claimed(key, **fields)
    assert await cell.settle(claimed, "uncertain") == "uncertain"
    return claimed


async def decide(cell: Cell, key: str, *, windows: int = 1, proved: bool = False) -> None:
    """Let so many windows of an uncertain message have passed; a webhook door without a gap would have heard of it."""
    await age(cell, key, windows)
    if proved:
        await all_conditions(cell)
    await cell.run(work.decide)
    await cell.redis.delete(*(cell.key(name) for name in ("door", "doors", "webhooks", f"witness:{NUMBER}")))
    await cell.run(work.decide)


async def lose_body(cell: Cell, key: str) -> None:
    await cell.redis.delete(cell.key(f"body:{key}"))


async def lose_record(cell: Cell, key: str) -> None:
    await cell.redis.delete(cell.key(f"msg:{key}"), cell.key(f"body:{key}"))


async def tend_twice(cell: Cell) -> None:
    for _ in range(2):
        await cell.run(work.tend, "process-1")


async def claim_twice(cell: Cell) -> None:
    for _ in range(2):
        await cell.claim_all()


async def lift(cell: Cell, scope: str) -> None:
    await cell.run(stops.lift, scope, [NUMBER])


# queued


@counts(("enqueued", "urgent"), ("enqueued", "normal"), ("enqueued", "bulk"))
async def queued(cell: Cell) -> None:
    given = [
        message(f"queued-{lane}", priority=lane, not_before="2222-01-01T00:00:00Z")
        for lane in ("urgent", "normal", "bulk")
    ]
    for _ in range(2):
        await cell.enqueue(*given)


@counts(QUEUED, CANCELLED)
async def cancelled(cell: Cell) -> None:
    await cell.queue("cancelled")
    for _ in range(2):
        await cell.run(queue.cancel, "cancelled")


@counts(QUEUED, QUEUED, CANCELLED)
async def replaced(cell: Cell) -> None:
    await cell.queue("replaced", not_before="2222-01-01T00:00:00Z")
    for _ in range(2):
        await cell.enqueue(message("replaces", replaces="replaced", not_before="2222-01-01T00:00:00Z"))


@counts(QUEUED, EXPIRED)
async def expired_where_tended(cell: Cell) -> None:
    await cell.queue("expired_where_tended")
    await cell.end_time("expired_where_tended")
    await tend_twice(cell)


@counts(QUEUED, EXPIRED)
async def expired_where_claimed(cell: Cell) -> None:
    await cell.queue("expired_where_claimed")
    await change(cell, "expired_where_claimed", expires=await cell.now() - 1)
    await claim_twice(cell)


@counts(QUEUED, dead("held"))
async def expired_after_a_resend_without_proof(cell: Cell) -> None:
    key = "expired_after_a_resend_without_proof"
    await cell.queue(key)
    await change(cell, key, unproven=1)
    await cell.end_time(key)
    await tend_twice(cell)


@counts(QUEUED, CANCELLED)
async def cancelled_by_the_stop_of_a_lane(cell: Cell) -> None:
    await cell.stop(f"lane:{NUMBER}:normal", "cancel")
    await cell.queue("cancelled_by_the_stop_of_a_lane")
    await claim_twice(cell)
    await lift(cell, f"lane:{NUMBER}:normal")


@counts(QUEUED, CANCELLED)
async def cancelled_by_the_stop_of_a_campaign(cell: Cell) -> None:
    await cell.stop("campaign:spring", "cancel")
    await cell.queue("cancelled_by_the_stop_of_a_campaign", campaign="spring")
    await claim_twice(cell)
    await lift(cell, "campaign:spring")


@counts(QUEUED, CANCELLED)
async def parked_and_cancelled(cell: Cell) -> None:
    await cell.stop(f"template:{WABA}:shipped")
    await cell.queue("parked_and_cancelled", content=template())
    await claim_twice(cell)
    await cell.stop(f"template:{WABA}:shipped", "cancel")
    for _ in range(2):
        await cell.run(stops.unpark)
    await lift(cell, f"template:{WABA}:shipped")


@counts(QUEUED, dead("lost"))
async def parked_and_lost(cell: Cell) -> None:
    await cell.stop("campaign:autumn")
    await cell.queue("parked_and_lost", campaign="autumn")
    await claim_twice(cell)
    await lose_record(cell, "parked_and_lost")
    await lift(cell, "campaign:autumn")


@counts(QUEUED)
async def parked_and_moved_back(cell: Cell) -> None:
    await cell.stop("campaign:winter")
    await cell.queue("parked_and_moved_back", campaign="winter")
    await claim_twice(cell)
    await lift(cell, "campaign:winter")


@counts(QUEUED, SUPPRESSED)
async def suppressed(cell: Cell) -> None:
    await cell.run(
        receipts.prefer,
        [Preference("+15550000001", NUMBER, WABA, "utility", stops=True, at_s=1_795_000_000, reason="STOP")],
    )
    await cell.queue("suppressed", to="+15550000001", category="utility")
    await claim_twice(cell)


@counts(QUEUED, dead("lost"))
async def lost_where_claimed(cell: Cell) -> None:
    await cell.queue("lost_where_claimed")
    await lose_body(cell, "lost_where_claimed")
    await claim_twice(cell)


@counts(QUEUED, dead("lost"))
async def lost_where_tended(cell: Cell) -> None:
    await cell.claimed("lost_where_tended")
    await lose_record(cell, "lost_where_tended")
    await cell.end_lease("lost_where_tended")
    await tend_twice(cell)


# sending, by an answer


@counts(QUEUED, ACCEPTED)
async def accepted_by_an_answer(cell: Cell) -> None:
    claimed = await cell.claimed("accepted_by_an_answer")
    for _ in range(2):
        await cell.settle(claimed, "accepted")
    for status in ("sent", "delivered", "read", "sent"):
        await cell.receipt("accepted_by_an_answer", status)


@counts(QUEUED, ACCEPTED)
async def put_back_and_accepted(cell: Cell) -> None:
    key = "put_back_and_accepted"
    await cell.queue(key)
    for outcome, value in (("release", ""), ("snooze", 0), ("retry", 0), ("accepted", "wamid.1")):
        [claimed] = [each for each in await cell.claim_all() if each.key == key]
        for _ in range(2):
            await cell.settle(claimed, outcome, value)


@counts(QUEUED, dead("rejected"))
async def rejected(cell: Cell) -> None:
    claimed = await cell.claimed("rejected")
    for _ in range(2):
        await cell.settle(claimed, "reject")


@counts(QUEUED, dead("exhausted"))
async def exhausted(cell: Cell) -> None:
    claimed = await cell.claimed("exhausted")
    await change(cell, "exhausted", attempts=8)
    for _ in range(2):
        await cell.settle(claimed, "retry", 0)


@counts(QUEUED, CANCELLED)
async def cancelled_under_way(cell: Cell) -> None:
    claimed = await cell.claimed("cancelled_under_way")
    await cell.run(queue.cancel, "cancelled_under_way")
    for _ in range(2):
        await cell.settle(claimed, "retry", 0)


@counts(QUEUED, QUEUED, CANCELLED)
async def replaced_under_way(cell: Cell) -> None:
    claimed = await cell.claimed("replaced_under_way")
    newer = message("replaces_under_way", replaces="replaced_under_way", not_before="2222-01-01T00:00:00Z")
    await cell.enqueue(newer)
    await cell.settle(claimed, "release")


@counts(QUEUED, ACCEPTED, TWICE)
async def accepted_twice_by_answers(cell: Cell) -> None:
    key = "accepted_twice_by_answers"
    await cell.queue(key)
    [first] = [each for each in await cell.claim_all() if each.key == key]
    await cell.settle(first, "release")
    [second] = [each for each in await cell.claim_all() if each.key == key]
    for _ in range(2):
        await cell.settle(first, "accepted", "wamid.first")
        await cell.settle(second, "accepted", "wamid.second")


@counts(QUEUED, ACCEPTED)
async def accepted_without_a_record(cell: Cell) -> None:
    claimed = await cell.claimed("accepted_without_a_record")
    await lose_record(cell, "accepted_without_a_record")
    for _ in range(2):
        await cell.settle(claimed, "accepted")


# uncertain


@counts(QUEUED, LOST_ANSWER, ACCEPTED)
async def accepted_late_by_an_answer(cell: Cell) -> None:
    claimed = await is_uncertain(cell, "accepted_late_by_an_answer")
    for outcome in ("uncertain", "accepted", "accepted"):
        await cell.settle(claimed, outcome)


@counts(QUEUED, LOST_WORKER)
async def lease_ended(cell: Cell) -> None:
    claimed = await cell.claimed("lease_ended")
    await cell.end_lease("lease_ended")
    await tend_twice(cell)
    await cell.settle(claimed, "uncertain")  # its worker lives after all


@counts(QUEUED, dead("lapsed"))
async def lapsed(cell: Cell) -> None:
    await cell.claimed("lapsed")
    await change(cell, "lapsed", lapses=2)
    await cell.end_lease("lapsed")
    await tend_twice(cell)


@counts(QUEUED, LOST_ANSWER, dead("held"))
async def held_where_tended(cell: Cell) -> None:
    await is_uncertain(cell, "held_where_tended")
    await cell.end_time("held_where_tended")
    await tend_twice(cell)


@counts(QUEUED, LOST_ANSWER, dead("held"))
async def held_where_decided(cell: Cell) -> None:
    await is_uncertain(cell, "held_where_decided")
    await change(cell, "held_where_decided", expires=await cell.now() - 1)
    await decide(cell, "held_where_decided")


@counts(QUEUED, LOST_ANSWER)
async def looked_at_later(cell: Cell) -> None:
    await is_uncertain(cell, "looked_at_later")
    await decide(cell, "looked_at_later")


@counts(QUEUED, LOST_ANSWER, dead("held"))
async def held_for_a_person(cell: Cell) -> None:
    await is_uncertain(cell, "held_for_a_person")
    await decide(cell, "held_for_a_person", windows=8)


@counts(QUEUED, LOST_ANSWER, PROVED)
async def sent_again_with_proof(cell: Cell) -> None:
    await is_uncertain(cell, "sent_again_with_proof")
    await decide(cell, "sent_again_with_proof", proved=True)


@counts(QUEUED, LOST_ANSWER, UNPROVED)
async def sent_again_without_proof(cell: Cell) -> None:
    await is_uncertain(cell, "sent_again_without_proof", on_uncertain="resend")
    await decide(cell, "sent_again_without_proof")


@counts(QUEUED, LOST_ANSWER, dead("exhausted"))
async def exhausted_where_decided(cell: Cell) -> None:
    await is_uncertain(cell, "exhausted_where_decided")
    await change(cell, "exhausted_where_decided", attempts=9)
    await decide(cell, "exhausted_where_decided", proved=True)


@counts(QUEUED, LOST_ANSWER, CANCELLED)
async def cancelled_where_decided(cell: Cell) -> None:
    await is_uncertain(cell, "cancelled_where_decided")
    await cell.run(queue.cancel, "cancelled_where_decided")
    await decide(cell, "cancelled_where_decided", proved=True)


@counts(QUEUED, LOST_ANSWER, dead("lost"))
async def lost_where_decided(cell: Cell) -> None:
    await is_uncertain(cell, "lost_where_decided")
    await lose_record(cell, "lost_where_decided")
    await decide(cell, "lost_where_decided")


# by a receipt


@counts(QUEUED, ACCEPTED)
async def accepted_by_a_receipt(cell: Cell) -> None:
    claimed = await cell.claimed("accepted_by_a_receipt")
    for status in ("delivered", "sent", "delivered"):
        await cell.receipt("accepted_by_a_receipt", status)
    await cell.settle(claimed, "accepted")


@counts(QUEUED, LOST_ANSWER, ACCEPTED)
async def accepted_late_by_a_receipt(cell: Cell) -> None:
    await is_uncertain(cell, "accepted_late_by_a_receipt")
    for _ in range(2):
        await cell.receipt("accepted_late_by_a_receipt")


@counts(QUEUED, LOST_ANSWER, dead("held"), ACCEPTED)
async def dead_and_accepted(cell: Cell) -> None:
    await held_for_a_person(cell)
    for _ in range(2):
        await cell.receipt("held_for_a_person")


@counts(QUEUED, ACCEPTED, TWICE)
async def accepted_twice_by_a_receipt(cell: Cell) -> None:
    await cell.settle(await cell.claimed("accepted_twice_by_a_receipt"), "accepted")
    for status in ("sent", "delivered"):
        await cell.receipt("accepted_twice_by_a_receipt", status, wamid="wamid.2")


@counts(QUEUED, ACCEPTED, dead("failed"))
async def failed(cell: Cell) -> None:
    await cell.settle(await cell.claimed("failed"), "accepted")
    for _ in range(2):
        await cell.receipt("failed", "failed", code=131026)


@counts(QUEUED, ACCEPTED, dead("failed"))
async def failed_and_never_answered(cell: Cell) -> None:
    claimed = await cell.claimed("failed_and_never_answered")
    await cell.receipt("failed_and_never_answered", "failed", code=131026)
    await cell.settle(claimed, "accepted")


@counts(QUEUED, ACCEPTED, ACCEPTED)
async def failed_and_accepted_again(cell: Cell) -> None:
    key = "failed_and_accepted_again"
    await cell.settle(await cell.claimed(key), "accepted")
    for _ in range(2):
        await cell.receipt(key, "failed", code=131000)
    assert await cell.score(f"lane:{NUMBER}:1", key) is not None
    await cell.redis.zadd(cell.key(f"lane:{NUMBER}:1"), {key: 1})
    [claimed] = [each for each in await cell.claim_all() if each.key == key]
    for _ in range(2):
        await cell.settle(claimed, "accepted", "wamid.2")


@counts()
async def receipt_of_another_program(cell: Cell) -> None:
    await cell.receipt("nobody", "delivered", callback="else")


# gates


async def close(cell: Cell, *keys: str, gate: str, why: Why) -> None:
    """Settle claimed messages one by one, each twice; the gate is that of `OTHER`, and is gone afterwards."""
    await cell.queue(*keys, number=OTHER)
    outcome = "uncertain" if why is Why.UNCERTAIN else "snooze"
    for claimed in await cell.claim_all(OTHER):
        given: dict[str, Any] = {"number": OTHER, "claimed_us": await cell.now(), "gate": gate, "why": why.value}
        for _ in range(2):
            await cell.settle(claimed, outcome, HOUR_US, gate_for_us=HOUR_US, **given)
    assert (await cell.gate(OTHER))["why"] == why.value
    await cell.redis.delete(cell.cell.gate(OTHER))


@counts(QUEUED, closed(Why.THROTTLED))
async def closed_throttled(cell: Cell) -> None:
    await close(cell, "closed_throttled", gate="close", why=Why.THROTTLED)


@counts(QUEUED, closed(Why.CREDENTIAL))
async def closed_credential(cell: Cell) -> None:
    await close(cell, "closed_credential", gate="close", why=Why.CREDENTIAL)


@counts(QUEUED, closed(Why.UNREACHABLE))
async def closed_unreachable(cell: Cell) -> None:
    await close(cell, "closed_unreachable", gate="close", why=Why.UNREACHABLE)


@counts(*[QUEUED] * 5, *[LOST_ANSWER] * 5, closed(Why.UNCERTAIN))
async def closed_uncertain(cell: Cell) -> None:
    await close(cell, *(f"closed_uncertain-{n}" for n in range(5)), gate="doubt", why=Why.UNCERTAIN)


@counts(QUEUED, QUEUED, closed(Why.THROTTLED), closed(Why.THROTTLED), ACCEPTED)
async def closed_again_by_its_trial(cell: Cell) -> None:
    """What was claimed before a closing closes it no further; the one message of a half open gate does."""
    await cell.queue("trial-1", "trial-2", number=OTHER)
    claimed_us = await cell.now()
    block: dict[str, Any] = {"number": OTHER, "gate": "close", "gate_for_us": HOUR_US, "why": "throttled"}
    for claimed in await cell.claim_all(OTHER):
        await cell.settle(claimed, "release", claimed_us=claimed_us, **block)
    await cell.end_block(OTHER)
    [trial] = await cell.claim_all(OTHER)
    await cell.settle(trial, "release", **block)
    await cell.end_block(OTHER)
    [trial] = await cell.claim_all(OTHER)
    await cell.settle(trial, "accepted", number=OTHER, gate="open")
    assert (await cell.gate(OTHER))["streak"] == "0"


# the tests


@pytest.mark.parametrize("name", ARROWS)
async def test_an_arrow_counts_what_it_does_and_nothing_else(cell: Cell, name: str) -> None:
    arrow, expected = ARROWS[name]
    await arrow(cell)
    found = await happened(cell)
    assert found == expected
    assert has_events(found) == await told(cell)


async def test_all_arrows_and_closings_together_are_counted_as_the_events_tell_them(cell: Cell) -> None:
    """Every state, cause, proof, lane and reason for a closing is among them, and none that the exporter does not know."""
    expected: Counts = Counter()
    for arrow, counted in ARROWS.values():
        if arrow is not held_for_a_person:  # which dead_and_accepted runs
            await arrow(cell)
            expected += counted
    found = await happened(cell)
    assert found == expected
    assert has_events(found) == await told(cell)
    assert set(found) == {(counter.count, *values) for counter in COUNTERS for values in counter.known}


async def test_what_a_script_had_done_when_it_broke_off_is_counted(cell: Cell) -> None:
    await poison(cell, cell.key(f"lane:{OTHER}:1"), "list")
    with pytest.raises(errors.QueueBroken):
        await cell.enqueue(message("k1"), message("k2", number=OTHER))
    assert await cell.state("k1") == "queued"
    assert await happened(cell) == Counter([QUEUED])


@pytest.mark.parametrize("kind", ["string", "list", "garbage"])
async def test_counts_that_cannot_be_kept_stop_no_message(cell: Cell, kind: str) -> None:
    if kind == "garbage":
        await cell.redis.hset(cell.key("counts"), mapping={"enqueued|normal": "garbage", "settled|accepted|none": ""})
    else:
        await poison(cell, cell.key("counts"), kind)
    assert await cell.settle(await cell.claimed("k1"), "accepted") == "accepted"
    assert await happened(cell) == Counter()

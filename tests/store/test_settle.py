"""Settle: each outcome once, fenced by the claim number; an acceptance wins in every state."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from dispatcher.message.priority import DEAD_KEPT_S, LANE_DEFAULTS, Priority
from dispatcher.store import queue, schema, work
from dispatcher.store.work import Claimed
from tests.store.cell import HOUR_US, NUMBER, OTHER, SECOND_US, Cell, keys_of, message, without

# The table of settle, row by row. Each state is reached for `k1` as it is in life; the entry settled is the first
# claim's.


async def queued_again(cell: Cell, claimed: Claimed) -> None:
    await cell.settle(claimed, "release")


async def rolled_back(cell: Cell, claimed: Claimed) -> None:
    """Redis forgot the claim: the message waits with the claim number of before."""
    await cell.redis.zrem(cell.key("sending"), claimed.key)
    await cell.redis.hset(cell.key("msg:" + claimed.key), "state", "queued")
    await cell.redis.hdel(cell.key("msg:" + claimed.key), "claim", "claimed")
    await cell.redis.zadd(cell.cell.lane(NUMBER, 1), {claimed.key: claimed.due_at_us})


async def sending(cell: Cell, claimed: Claimed) -> None:
    assert await cell.state() == "sending"


async def claimed_again(cell: Cell, claimed: Claimed) -> None:
    await cell.settle(claimed, "release")
    assert keys_of(await cell.claim_all()) == [claimed.key]


async def uncertain(cell: Cell, claimed: Claimed) -> None:
    await cell.settle(claimed, "uncertain", error="lost")


async def lapsed(cell: Cell, claimed: Claimed) -> None:
    await cell.end_lease(claimed.key)
    await cell.run(work.tend, "process-1")
    assert await cell.state() == "uncertain"


async def accepted(cell: Cell, claimed: Claimed) -> None:
    await cell.settle(claimed, "accepted", "wamid.1")


async def accepted_as_another(cell: Cell, claimed: Claimed) -> None:
    await cell.settle(claimed, "accepted", "wamid.other")


async def dead(cell: Cell, claimed: Claimed) -> None:
    await cell.settle(claimed, "reject", error="131026 no")


async def expired(cell: Cell, claimed: Claimed) -> None:
    await cell.settle(claimed, "release")
    await cell.end_time(claimed.key)
    await cell.run(work.tend, "process-1")


async def cancelled(cell: Cell, claimed: Claimed) -> None:
    await cell.settle(claimed, "release")
    await cell.run(queue.cancel, claimed.key)


async def unknown(cell: Cell, claimed: Claimed) -> None:
    await cell.redis.delete(cell.key("msg:" + claimed.key), cell.key("body:" + claimed.key))


State = Callable[[Cell, Claimed], Awaitable[None]]
NOT_FENCED: list[State] = [
    queued_again, rolled_back, claimed_again, accepted, dead, expired, cancelled, unknown
]  # fmt: skip
FENCED: list[State] = [sending, uncertain, lapsed]


async def everything(cell: Cell) -> dict[str, object]:
    """All that Redis holds, but for what it says about time."""
    found: dict[str, object] = {}
    for name in sorted(await cell.redis.keys("*")):
        found[name.decode()] = await cell.redis.dump(name)
    return found


@pytest.mark.parametrize("reach", [*NOT_FENCED, *FENCED], ids=lambda reach: reach.__name__)
async def test_an_acceptance_wins_in_every_state(cell: Cell, reach: State) -> None:
    claimed = await cell.claimed()
    await reach(cell, claimed)
    if reach is accepted:
        return
    told = await cell.told()
    assert await cell.settle(claimed, "accepted", "wamid.1") == "accepted"
    record = await cell.record()
    assert (record["state"], record["wamid"], record["cause"], record["error"]) == ("accepted", "wamid.1", "", "")
    assert (record["number"], record["to"], record["fingerprint"]) == (NUMBER, "+15551234567", claimed.fingerprint)
    assert await cell.sets_of("k1") <= {"expiry"} if reach is unknown else await cell.sets_of("k1") == set()
    assert await cell.told() == [*told, ("accepted", "k1")]
    assert 0 < await cell.redis.pttl(cell.key("msg:k1")) <= LANE_DEFAULTS[Priority.NORMAL].record_kept_s * 1000


@pytest.mark.parametrize("reach", [*NOT_FENCED, *FENCED], ids=lambda reach: reach.__name__)
async def test_an_acceptance_settled_again_changes_nothing(cell: Cell, reach: State) -> None:
    claimed = await cell.claimed()
    await reach(cell, claimed)
    await cell.settle(claimed, "accepted", "wamid.1")
    before = await everything(cell)
    assert await cell.settle(claimed, "accepted", "wamid.1") == ""
    assert await everything(cell) == before


async def test_a_second_wamid_is_a_duplicate_and_both_are_named(cell: Cell) -> None:
    claimed = await cell.claimed()
    await accepted_as_another(cell, claimed)
    expires = await cell.redis.pttl(cell.key("msg:k1"))
    assert await cell.settle(claimed, "accepted", "wamid.1") == "duplicate"
    event = (await cell.events())[-1]
    assert (event["type"], event["wamid"], event["cause"]) == ("duplicate", "wamid.1", "wamid.other")
    record = await cell.record()
    assert (record["state"], record["wamid"], record["others"]) == ("accepted", "wamid.other", "wamid.1")
    assert 0 < await cell.redis.pttl(cell.key("msg:k1")) <= expires


async def test_a_duplicate_is_counted_once_however_often_it_is_settled(cell: Cell) -> None:
    claimed = await cell.claimed()
    await accepted_as_another(cell, claimed)
    words = [await cell.settle(claimed, "accepted", "wamid.1") for _ in range(3)]
    assert words == ["duplicate", "", ""]
    assert [kind for kind, _ in await cell.told()] == ["accepted", "duplicate"]


@pytest.mark.parametrize("outcome", ["retry", "snooze", "release", "reject", "uncertain"])
@pytest.mark.parametrize("reach", NOT_FENCED, ids=lambda reach: reach.__name__)
async def test_an_outcome_of_a_claim_that_is_over_changes_nothing(cell: Cell, reach: State, outcome: str) -> None:
    claimed = await cell.claimed()
    await reach(cell, claimed)
    before = await everything(cell)
    value = 0 if outcome in {"retry", "snooze"} else ""
    assert await cell.settle(claimed, outcome, value, error="1 late") == ""
    assert await everything(cell) == before


@pytest.mark.parametrize("reach", FENCED, ids=lambda reach: reach.__name__)
async def test_retry_puts_a_message_back_later_and_costs_one_attempt(cell: Cell, reach: State) -> None:
    claimed = await cell.claimed()
    await reach(cell, claimed)
    before = await cell.now()
    assert await cell.settle(claimed, "retry", HOUR_US, error="131016 later") == "queued"
    after = await cell.now()
    assert before + HOUR_US <= (await cell.score(f"lane:{NUMBER}:1", "k1") or 0) <= after + HOUR_US
    assert await cell.sets_of("k1") == {f"lane:{NUMBER}:1", "expiry"}
    record = await cell.record()
    assert (record["state"], record["attempts"], record["error"]) == ("queued", "1", "131016 later")
    event = (await cell.events())[-1]
    assert (event["type"], event["attempt"], event["error"]) == ("retry", "1", "131016 later")


@pytest.mark.parametrize("reach", FENCED, ids=lambda reach: reach.__name__)
@pytest.mark.parametrize(("outcome", "told"), [("snooze", ["snoozed"]), ("release", [])])
async def test_what_was_not_posted_goes_back_to_its_own_place(
    cell: Cell, reach: State, outcome: str, told: list[str]
) -> None:
    claimed = await cell.claimed()
    await reach(cell, claimed)
    attempts = int((await cell.record())["attempts"] if reach is not sending else 0)
    before = len(await cell.told())
    assert await cell.settle(claimed, outcome) == "queued"
    assert await cell.score(f"lane:{NUMBER}:1", "k1") == claimed.due_at_us
    assert int((await cell.record())["attempts"]) == attempts
    assert [kind for kind, _ in (await cell.told())[before:]] == told


@pytest.mark.parametrize("outcome", ["snooze", "release"])
async def test_patience_never_costs_an_attempt(cell: Cell, outcome: str) -> None:
    await cell.queue("k1")
    for turn in range(1, 30):
        [claimed] = await cell.claim_all()
        assert (claimed.claim, claimed.attempts) == (turn, 0)
        await cell.settle(claimed, outcome)
    assert await cell.state() == "queued"


async def test_a_snooze_may_name_a_time(cell: Cell) -> None:
    claimed = await cell.claimed()
    before = await cell.now()
    assert await cell.settle(claimed, "snooze", 6 * SECOND_US, error="131056 pair") == "queued"
    score = await cell.score(f"lane:{NUMBER}:1", "k1") or 0
    assert before + 6 * SECOND_US <= score <= await cell.now() + 6 * SECOND_US
    assert await cell.score("due", NUMBER) == score


@pytest.mark.parametrize("reach", FENCED, ids=lambda reach: reach.__name__)
async def test_reject_is_dead_and_keeps_the_body_for_a_person(cell: Cell, reach: State) -> None:
    claimed = await cell.claimed()
    await reach(cell, claimed)
    assert await cell.settle(claimed, "reject", error="131026 no") == "dead"
    record = await cell.record()
    assert (record["state"], record["cause"], record["error"]) == ("dead", "rejected", "131026 no")
    assert record["attempts"] == "1"
    assert await cell.sets_of("k1") == {"dead"}
    for name in ("msg:k1", "body:k1"):
        assert 0 < await cell.redis.pttl(cell.key(name)) <= DEAD_KEPT_S * 1000
    assert (await cell.events())[-1]["cause"] == "rejected"


async def test_uncertain_opens_a_window_and_counts_one_attempt(cell: Cell) -> None:
    for name, priority, window_s in (("k1", "normal", 60), ("k2", "urgent", 10)):
        claimed = await cell.claimed(name, priority=priority)
        before = await cell.now()
        assert await cell.settle(claimed, "uncertain", error="lost") == "uncertain"
        after = await cell.now()
        score = await cell.score("uncertain", name) or 0
        assert before + window_s * SECOND_US <= score <= after + window_s * SECOND_US
        assert await cell.sets_of(name) == {"uncertain", "expiry"}
        record = await cell.record(name)
        assert (record["state"], record["attempts"], record["error"]) == ("uncertain", "1", "lost")


@pytest.mark.parametrize("reach", [uncertain, lapsed], ids=lambda reach: reach.__name__)
async def test_uncertain_settled_again_opens_no_second_window(cell: Cell, reach: State) -> None:
    claimed = await cell.claimed()
    await reach(cell, claimed)
    before = await everything(cell)
    assert await cell.settle(claimed, "uncertain", error="lost") == ""
    assert await everything(cell) == before


@pytest.mark.parametrize("reach", FENCED, ids=lambda reach: reach.__name__)
async def test_one_post_that_was_accepted_is_one_attempt(cell: Cell, reach: State) -> None:
    claimed = await cell.claimed()
    await reach(cell, claimed)
    await cell.settle(claimed, "accepted")
    assert (await cell.record())["attempts"] == "1"


async def test_attempts_are_used_up_after_the_first_and_eight_more(cell: Cell) -> None:
    await cell.queue("k1")
    words = []
    for _ in range(9):
        [claimed] = await cell.claim_all()
        words.append(await cell.settle(claimed, "retry", 0, error="131016 later"))
    assert words == ["queued"] * 8 + ["dead"]
    record = await cell.record()
    assert (record["cause"], record["attempts"], record["error"]) == ("exhausted", "9", "131016 later")


async def test_an_urgent_message_is_tried_until_its_time_runs_out(cell: Cell) -> None:
    await cell.queue("k1", priority="urgent")
    for _ in range(20):
        [claimed] = await cell.claim_all()
        assert await cell.settle(claimed, "retry", 0) == "queued"


@pytest.mark.parametrize("outcome", ["retry", "snooze", "release"])
async def test_what_was_cancelled_under_way_does_not_come_back(cell: Cell, outcome: str) -> None:
    claimed = await cell.claimed()
    assert await cell.run(queue.cancel, "k1") == ("marked", "sending")
    assert await cell.settle(claimed, outcome, 0 if outcome == "retry" else "") == "cancelled"
    assert await cell.sets_of("k1") == set()
    assert await cell.told() == [("cancelled", "k1")]


async def test_what_was_cancelled_too_late_is_accepted_all_the_same(cell: Cell) -> None:
    claimed = await cell.claimed()
    await cell.run(queue.cancel, "k1")
    assert await cell.settle(claimed, "accepted") == "accepted"


async def test_a_message_put_back_makes_its_number_due(cell: Cell) -> None:
    claimed = await cell.claimed()
    await cell.claim_all()
    assert await cell.members("due") == []
    await cell.settle(claimed, "release")
    assert await cell.take() == [NUMBER]


# a rollback


async def test_what_flies_is_taken_out_of_its_lane_again_after_a_rollback(cell: Cell) -> None:
    claimed = await cell.claimed()
    await rolled_back(cell, claimed)
    before = await cell.now()
    assert await cell.settle(claimed, "in_flight", 20 * SECOND_US) == "sending"
    assert await cell.sets_of("k1") == {"sending", "expiry"}
    assert (await cell.score("sending", "k1") or 0) >= before + 20 * SECOND_US
    assert await cell.claim_all() == []
    assert await cell.settle(claimed, "accepted") == "accepted"


@pytest.mark.parametrize(
    "reach", [sending, uncertain, claimed_again, accepted, dead, expired, cancelled, unknown],
    ids=lambda reach: reach.__name__,
)  # fmt: skip
async def test_what_flies_changes_nothing_in_any_other_state(cell: Cell, reach: State) -> None:
    claimed = await cell.claimed()
    await reach(cell, claimed)
    before = await everything(cell)
    assert await cell.settle(claimed, "in_flight", 20 * SECOND_US) == ""
    assert await everything(cell) == before


async def test_a_rollback_to_before_the_message_leaves_its_key_used(cell: Cell) -> None:
    claimed = await cell.claimed(callback_data="order=1")
    await cell.redis.flushall()
    assert await cell.settle(claimed, "accepted", "wamid.1") == "accepted"
    [again] = await cell.enqueue(message(claimed.key))
    assert (again.word, again.state) == ("duplicate", "accepted")


# many at once


async def test_each_entry_of_a_batch_stands_for_itself(cell: Cell) -> None:
    await cell.queue("k1", "k2", "k3", "k4")
    one, two, three, four = await cell.claim_all()
    stale = replace(three, claim=7)
    entries = [
        await cell.settlement(one, "accepted"),
        await cell.settlement(stale, "reject"),
        await cell.settlement(two, "retry", 0),
        await cell.settlement(four, "uncertain"),
        await cell.settlement(two, "retry", 0),
    ]
    assert await cell.run(work.settle, entries) == ["accepted", "", "queued", "uncertain", ""]
    assert await cell.state("k3") == "sending"


async def test_a_hundred_outcomes_settle_in_one_call(cell: Cell) -> None:
    for at in range(0, 100, 50):
        await cell.queue(*(f"k{at + n}" for n in range(50)))
    claimed = await cell.claim_all()
    entries = [await cell.settlement(entry, "accepted", f"wamid.{entry.key}") for entry in claimed]
    assert await cell.run(work.settle, entries) == ["accepted"] * 100
    assert len(await cell.told()) == 100


# the gate


async def doubtful(cell: Cell, name: str, *, claimed_at_us: int | None = None) -> None:
    claimed = await cell.claimed(name)
    at = claimed_at_us if claimed_at_us is not None else await cell.now()
    await cell.settle(
        claimed, "uncertain", gate="doubt", gate_for_us=HOUR_US, why="uncertain", claimed_us=at
    )  # fmt: skip


async def test_the_fifth_uncertain_answer_in_a_row_closes_the_gate(cell: Cell) -> None:
    for n in range(4):
        await doubtful(cell, f"k{n}")
        assert (await cell.gate()).get("streak", "0") == "0"
    before = await cell.now()
    await doubtful(cell, "k4")
    gate = await cell.gate()
    assert (gate["streak"], gate["doubts"], gate["why"]) == ("1", "0", "uncertain")
    assert int(gate["until"]) >= before + HOUR_US


async def test_an_answer_in_between_begins_the_count_anew(cell: Cell) -> None:
    for n in range(4):
        await doubtful(cell, f"k{n}")
    claimed = await cell.claimed("fine")
    await cell.settle(claimed, "accepted", gate="open")
    await doubtful(cell, "k4")
    assert (await cell.gate())["doubts"] == "1"


async def test_a_doubt_settled_again_is_no_second_doubt(cell: Cell) -> None:
    claimed = await cell.claimed()
    entry = await cell.settlement(claimed, "uncertain", gate="doubt", gate_for_us=HOUR_US, why="uncertain")
    for _ in range(6):
        await cell.run(work.settle, [entry])
    gate = await cell.gate()
    assert (gate["doubts"], gate.get("streak", "0")) == ("1", "0")


async def test_eighty_limit_errors_of_one_moment_close_the_gate_once(cell: Cell) -> None:
    for at in range(0, 80, 40):
        await cell.queue(*(f"k{at + n}" for n in range(40)))
    claimed = await cell.claim_all()
    entries = [
        await cell.settlement(entry, "snooze", gate="close", gate_for_us=SECOND_US, why="throttled")
        for entry in claimed
    ]
    for at in range(0, 80, 20):
        assert await cell.run(work.settle, entries[at : at + 20]) == ["queued"] * 20
    gate = await cell.gate()
    assert (gate["streak"], gate["why"]) == ("1", "throttled")
    assert await cell.score("due", NUMBER) == int(gate["until"])


@pytest.mark.parametrize("turn", ["close", "doubt", "open"])
async def test_an_answer_to_a_claim_from_before_the_last_closing_says_nothing_new(cell: Cell, turn: str) -> None:
    early = await cell.claimed("early")
    at = await cell.now()
    claimed = await cell.claimed("closer")
    await cell.settle(claimed, "snooze", gate="close", gate_for_us=HOUR_US, why="throttled")
    before = await cell.gate()
    outcome = {"close": "snooze", "doubt": "uncertain", "open": "accepted"}[turn]
    await cell.settle(early, outcome, gate=turn, gate_for_us=2 * HOUR_US, why="other", claimed_us=at)
    assert await cell.gate() == before


async def test_every_failed_probe_makes_the_streak_longer(cell: Cell) -> None:
    await cell.queue("k1")
    for streak in range(1, 5):
        await cell.own()
        await cell.refill()
        batch = await cell.claim()
        assert (keys_of(batch.messages), batch.streak) == (["k1"], streak - 1)
        await cell.settle(
            batch.messages[0], "snooze", gate="close", gate_for_us=HOUR_US, why="throttled",
            claimed_us=batch.claimed_at_us,
        )  # fmt: skip
        await cell.end_block()
    assert (await cell.gate())["streak"] == "4"


async def test_one_doubt_about_a_half_open_gate_closes_it_again(cell: Cell) -> None:
    closer = await cell.claimed("closer")
    await cell.settle(closer, "reject", gate="close", gate_for_us=HOUR_US, why="throttled")
    await cell.end_block()
    await cell.queue("probe")
    await cell.own()
    await cell.refill()
    batch = await cell.claim()
    await cell.settle(
        batch.messages[0], "uncertain", gate="doubt", gate_for_us=HOUR_US, why="uncertain",
        claimed_us=batch.claimed_at_us,
    )  # fmt: skip
    gate = await cell.gate()
    assert (gate["streak"], gate["why"], gate["probe"]) == ("2", "uncertain", "0")


async def test_a_gate_that_opens_wakes_its_number_whatever_else_is_settled_with_it(cell: Cell) -> None:
    await cell.queue("closer", "later", "doubtful", "k1")
    claimed = {entry.key: entry for entry in await cell.claim_all()}
    await cell.settle(claimed["closer"], "snooze", HOUR_US, gate="close", gate_for_us=HOUR_US, why="throttled")
    await cell.settle(claimed["k1"], "release")
    await cell.run(
        work.settle,
        [
            await cell.settlement(claimed["doubtful"], "reject", gate="open"),
            await cell.settlement(claimed["doubtful"], "reject", gate="doubt", gate_for_us=HOUR_US),
            await cell.settlement(claimed["later"], "retry", HOUR_US, gate="open"),
        ],
    )
    assert await cell.take() == [NUMBER]
    assert keys_of((await cell.claim()).messages) == ["k1"]


async def test_the_gate_of_one_number_is_not_that_of_another(cell: Cell) -> None:
    claimed = await cell.claimed()
    await cell.settle(claimed, "snooze", gate="close", gate_for_us=HOUR_US, why="throttled")
    await cell.queue("k2", number=OTHER)
    assert keys_of(await cell.claim_all(OTHER)) == ["k2"]


# what is told and kept


async def test_events_carry_what_a_consumer_needs_and_no_recipient(cell: Cell) -> None:
    claimed = await cell.claimed(callback_data="order=4411", campaign="spring", category="marketing")
    before = await cell.now()
    await cell.settle(claimed, "accepted", "wamid.1")
    [event] = await cell.events()
    assert before // 1000 <= int(event["at"]) <= await cell.now() // 1000 + 1
    assert without(event, "at") == {
        "v": "1", "type": "accepted", "number": NUMBER, "key": "k1", "wamid": "wamid.1", "campaign": "spring",
        "category": "marketing", "attempt": "1", "cause": "", "error": "", "extra": '{"callback_data": "order=4411"}',
    }  # fmt: skip


@pytest.mark.parametrize("priority", list(Priority))
async def test_the_body_of_an_accepted_message_is_kept_as_its_lane_says(cell: Cell, priority: Priority) -> None:
    claimed = await cell.claimed(priority=priority, callback_data="order=1")
    await cell.settle(claimed, "accepted")
    kept_ms = LANE_DEFAULTS[priority].body_kept_s * 1000
    left_ms = await cell.redis.pttl(cell.key("body:k1"))
    assert left_ms == -2 if kept_ms == 0 else kept_ms - 10_000 < left_ms <= kept_ms
    for name in ("msg:k1", "extra:k1"):
        record_ms = LANE_DEFAULTS[priority].record_kept_s * 1000
        assert record_ms - 10_000 < await cell.redis.pttl(cell.key(name)) <= record_ms


async def test_a_wamid_with_a_tab_does_not_shift_the_record(cell: Cell) -> None:
    claimed = await cell.claimed()
    await cell.settle(claimed, "accepted", "wamid\t1\n")
    assert (await cell.record())["wamid"] == "wamid 1 "


async def test_old_events_are_trimmed(redis: Redis) -> None:
    cell = Cell(redis, schema.Cell(events_kept_s=86_400))
    for n in range(1, 500):
        await cell.redis.xadd(cell.key("events"), {"type": "accepted"}, id=f"{n}-1")
    claimed = await cell.claimed()
    await cell.settle(claimed, "accepted")
    assert await cell.redis.xlen(cell.key("events")) < 200

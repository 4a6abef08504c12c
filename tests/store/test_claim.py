"""Claim: what may go now, in the right order, as much as bucket, room, gate and stops allow."""

import math

import pytest

from dispatcher.policy.bucket import Bucket, Room
from dispatcher.store import queue, stops
from tests.store.cell import (
    AMPLE,
    HOUR_US,
    LEASES,
    NUMBER,
    OWNER,
    RATE,
    SECOND_US,
    TOKEN,
    WABA,
    Cell,
    bucket_size,
    keys_of,
    message,
    refill_rate,
    template,
)


async def test_a_claim_moves_messages_to_sending_under_a_lease(cell: Cell) -> None:
    await cell.queue("k1", priority="urgent")
    await cell.queue("k2", priority="bulk")
    await cell.own()
    batch = await cell.claim()
    assert keys_of(batch.messages) == ["k1", "k2"]
    for name, lease_s in (("k1", LEASES.message_lease_s[0]), ("k2", LEASES.message_lease_s[2])):
        assert await cell.sets_of(name) == {"sending", "expiry"}
        assert await cell.score("sending", name) == batch.claimed_at_us + lease_s * SECOND_US
        record = await cell.record(name)
        assert (record["state"], record["claim"], record["claimed"]) == ("sending", "1", str(batch.claimed_at_us))


async def test_what_is_handed_out_is_whole(cell: Cell) -> None:
    await cell.queue("k1", content={"type": "text", "text": {"body": 'über "x"\t\n'}})
    await cell.own()
    [claimed] = (await cell.claim()).messages
    record = await cell.record()
    assert (claimed.key, claimed.claim, claimed.priority, claimed.attempts) == ("k1", 1, 1, 0)
    assert (claimed.recipient, claimed.fingerprint) == ("+15551234567", record["fingerprint"])
    assert claimed.due_at_us == int(record["due"])
    assert claimed.body == await cell.redis.get(cell.key("body:k1"))


async def test_higher_lanes_go_first_and_each_in_its_order(cell: Cell) -> None:
    for priority in ("bulk", "normal", "urgent"):
        await cell.queue(*(f"{priority}-{n}" for n in range(3)), priority=priority)
    expected = [f"{priority}-{n}" for priority in ("urgent", "normal", "bulk") for n in range(3)]
    assert keys_of(await cell.claim_all()) == expected


async def test_no_more_is_claimed_than_there_are_whole_tokens(cell: Cell) -> None:
    await cell.queue(*"abcdef")
    await cell.own()
    await cell.fix_tokens(2.999)
    assert keys_of((await cell.claim()).messages) == ["a", "b"]
    assert float((await cell.gate())["tokens"]) == pytest.approx(0.999)


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (Room(4, 3, 2), ["u1", "u2", "n1"]),
        (Room(4, 4, 2), ["u1", "u2", "n1", "n2"]),
        (Room(1, 0, 0), ["u1"]),
        (Room(0, -1, -2), []),
        (Room(2, 1, 0), ["u1", "u2"]),
        (Room(6, 5, 5), ["u1", "u2", "n1", "n2", "b1"]),
    ],
)
async def test_room_counts_all_lanes_together(cell: Cell, room: Room, expected: list[str]) -> None:
    for lane, priority in (("u", "urgent"), ("n", "normal"), ("b", "bulk")):
        await cell.queue(f"{lane}1", f"{lane}2", priority=priority)
    await cell.own()
    batch = await cell.claim(rate_per_s=1000.0, room=room)
    assert keys_of(batch.messages) == expected


async def test_a_claim_without_room_keeps_the_number_for_50_ms(cell: Cell) -> None:
    await cell.queue("k1")
    await cell.own()
    batch = await cell.claim(room=Room(0, 0, 0))
    assert (batch.state, batch.messages, batch.wait_s) == ("kept", [], 0.05)
    assert (await cell.gate())["owner"] == OWNER


async def test_what_is_not_due_yet_stays_and_says_when(cell: Cell) -> None:
    await cell.queue("now")
    await cell.queue("later", not_before="2222-01-01T00:00:00Z")
    await cell.own()
    batch = await cell.claim()
    assert (batch.state, keys_of(batch.messages)) == ("released", ["now"])
    assert await cell.score("due", NUMBER) == await cell.score(f"lane:{NUMBER}:1", "later")
    assert "owner" not in await cell.gate()


async def test_an_empty_claim_releases_and_leaves_nothing_due(cell: Cell) -> None:
    await cell.own()
    batch = await cell.claim()
    assert (batch.state, batch.messages, batch.wait_s) == ("released", [], 0)
    assert await cell.members("due") == []


async def test_an_owner_that_waits_for_a_token_keeps_the_number_for_up_to_50_ms(cell: Cell) -> None:
    await cell.queue("k1")
    await cell.own()
    await cell.fix_tokens(0)
    batch = await cell.claim()
    assert batch.state == "kept"
    assert batch.wait_s == pytest.approx(1 / refill_rate(RATE), abs=2e-6)


async def test_an_owner_that_would_wait_longer_gives_the_number_back(cell: Cell) -> None:
    await cell.queue("k1")
    await cell.own()
    await cell.fix_tokens(0)
    batch = await cell.claim(rate_per_s=1.0)
    assert batch.state == "released"
    due = await cell.score("due", NUMBER) or 0
    assert due - batch.claimed_at_us == pytest.approx(SECOND_US / refill_rate(1.0), abs=2)


async def test_a_claim_by_who_is_not_the_owner_changes_nothing(cell: Cell) -> None:
    await cell.queue("k1")
    await cell.own(owner="process-2")
    before = await cell.gate()
    batch = await cell.claim(owner="process-1")
    assert (batch.state, batch.messages) == ("lost", [])
    assert await cell.gate() == before
    assert await cell.lane() == ["k1"]


async def test_a_claim_without_any_owner_is_lost_as_well(cell: Cell) -> None:
    await cell.queue("k1")
    assert (await cell.claim()).state == "lost"
    assert await cell.lane() == ["k1"]


# a lost reply


async def test_the_same_sequence_brings_the_same_batch(cell: Cell) -> None:
    await cell.queue("k1", "k2")
    await cell.own()
    asking = cell.asking()
    first = await cell.ask(asking)
    again = await cell.ask(asking)
    assert again.messages == first.messages
    assert keys_of(first.messages) == ["k1", "k2"]
    assert (await cell.record())["claim"] == "1"


async def test_the_same_sequence_brings_the_same_batch_though_another_serves_the_number(cell: Cell) -> None:
    await cell.queue("k1")
    await cell.own(owner="process-1")
    asking = cell.asking(owner="process-1")
    first = await cell.ask(asking)
    await cell.queue("k2")
    await cell.own(owner="process-2")
    assert keys_of((await cell.claim(owner="process-2", sequence=1)).messages) == ["k2"]
    assert (await cell.ask(asking)).messages == first.messages
    await cell.own(owner="process-2")
    again = await cell.ask(asking)
    assert (again.state, again.messages) == ("lost", first.messages)


async def test_a_batch_asked_for_again_leaves_out_what_was_settled(cell: Cell) -> None:
    await cell.queue("k1", "k2", "k3")
    await cell.own()
    asking = cell.asking()
    first = await cell.ask(asking)
    await cell.settle(first.messages[0], "accepted")
    await cell.settle(first.messages[1], "release")
    assert keys_of((await cell.ask(asking)).messages) == ["k3"]


async def test_a_batch_is_not_brought_to_another_process_with_the_same_sequence(cell: Cell) -> None:
    await cell.queue("k1")
    await cell.own(owner="process-1")
    await cell.claim(owner="process-1", sequence=7)
    await cell.queue("k2")
    await cell.own(owner="process-2")
    assert keys_of((await cell.claim(owner="process-2", sequence=7)).messages) == ["k2"]


async def test_an_earlier_sequence_brings_nothing(cell: Cell) -> None:
    await cell.own()
    await cell.claim(sequence=7)
    await cell.own()
    await cell.queue("k1")
    assert (await cell.claim(sequence=6)).messages == []
    assert await cell.lane() == ["k1"]
    assert keys_of((await cell.claim(sequence=8)).messages) == ["k1"]


async def test_claim_numbers_rise_with_every_claim(cell: Cell) -> None:
    await cell.queue("k1")
    for number in (1, 2, 3):
        [claimed] = await cell.claim_all()
        assert claimed.claim == number
        assert await cell.settle(claimed, "release") == "queued"


# the bucket

UNEVEN_S = 0.025
RATES = (*range(1, 101), 125, 250, 333, 500, 999, 1000, 12_345, 99_999, 100_000)
SLOW = (0.0001, 0.01, 0.1, 1 / 3, 0.5, 0.9, 0.999)


async def bucket(cell: Cell, rate: float) -> Bucket:
    """What a claim says of a number that may send so many messages a second."""
    return (await cell.claim(rate_per_s=rate)).bucket


@pytest.mark.parametrize(("rate", "size", "refill"), [(1, 1.015, 0.96), (80, 2.2, 76.8), (1000, 16.0, 960.0)])
async def test_bucket_of_the_known_throughputs(cell: Cell, rate: float, size: float, refill: float) -> None:
    found = await bucket(cell, rate)
    assert [found.rate_per_s, found.size, found.refill_per_s] == pytest.approx([rate, size, refill])


async def test_no_second_holds_more_than_the_rate(cell: Cell) -> None:
    found = [await bucket(cell, rate) for rate in RATES]
    assert all(math.floor(each.size + each.refill_per_s * (1 + UNEVEN_S)) <= each.rate_per_s for each in found)


async def test_below_one_a_second_no_window_of_one_over_the_rate_holds_two(cell: Cell) -> None:
    found = [await bucket(cell, rate) for rate in SLOW]
    assert all(math.floor(each.size + each.refill_per_s * (1 / each.rate_per_s + UNEVEN_S)) <= 1 for each in found)


async def test_an_echo_and_a_lost_claim_say_the_rate_as_well(cell: Cell) -> None:
    await cell.queue("k1")
    await cell.own()
    await cell.set_gate(rate=1000)
    asking = cell.asking()
    for _ in range(2):
        assert (await cell.ask(asking)).bucket == Bucket(1000, 16, 960)
    lost = await cell.claim(owner="process-2")
    assert (lost.state, lost.bucket) == ("lost", Bucket(1000, 16, 960))


async def test_a_new_number_begins_with_a_full_bucket(cell: Cell) -> None:
    await cell.queue(*"abcdef")
    await cell.own()
    assert len((await cell.claim(rate_per_s=200.0)).messages) == int(bucket_size(200.0)) == 4


@pytest.mark.parametrize("rate", [0.1, 1.0, 5.0, 80.0, 1000.0])
@pytest.mark.parametrize("start", [0.0, 0.4])
async def test_tokens_flow_back_exactly_as_time_passes(cell: Cell, rate: float, start: float) -> None:
    elapsed_us = round(0.3 * SECOND_US / refill_rate(rate))
    at = await cell.now() - elapsed_us
    await cell.own()
    await cell.set_gate(tokens=start, at=at)
    batch = await cell.claim(rate_per_s=rate)
    gate = await cell.gate()
    assert int(gate["at"]) == batch.claimed_at_us
    flowed = (batch.claimed_at_us - at) * refill_rate(rate) / SECOND_US
    assert float(gate["tokens"]) == pytest.approx(min(start + flowed, bucket_size(rate)), abs=2e-6)


async def test_a_bucket_never_overflows(cell: Cell) -> None:
    await cell.own()
    await cell.refill()
    await cell.claim()
    assert float((await cell.gate())["tokens"]) == bucket_size(RATE)


async def test_a_bucket_of_a_number_that_became_slower_shrinks(cell: Cell) -> None:
    await cell.own()
    await cell.fix_tokens(100)
    await cell.claim(rate_per_s=10.0)
    assert float((await cell.gate())["tokens"]) == bucket_size(10.0)


async def test_a_clock_that_steps_back_refills_nothing_and_blocks_nothing(cell: Cell) -> None:
    await cell.queue("k1", "k2")
    await cell.own()
    await cell.fix_tokens(1)
    batch = await cell.claim()
    assert keys_of(batch.messages) == ["k1"]
    gate = await cell.gate()
    assert (float(gate["tokens"]), int(gate["at"])) == (0, batch.claimed_at_us)


async def test_a_thousand_claims_of_an_hour_never_exceed_the_rate(cell: Cell) -> None:
    """Claims at any distance: what was handed out in a window is at most the bucket and what flowed in."""
    rate = 80.0
    names = [f"k{n}" for n in range(400)]
    for at in range(0, len(names), 50):
        await cell.queue(*names[at : at + 50])
    handed = []
    for _ in range(40):
        await cell.own()
        batch = await cell.claim(rate_per_s=rate)
        handed += [batch.claimed_at_us] * len(batch.messages)
        elapsed = (batch.claimed_at_us - handed[0]) / SECOND_US
        assert len(handed) <= bucket_size(rate) + elapsed * refill_rate(rate)


# what is settled on the way


async def test_expired_messages_are_settled_without_a_token(cell: Cell) -> None:
    await cell.queue("old1", "old2", "old3", "k1", "k2")
    for name in ("old1", "old2", "old3"):
        await cell.end_time(name)
    await cell.own()
    await cell.fix_tokens(1)
    batch = await cell.claim()
    assert (keys_of(batch.messages), batch.expired) == (["k1"], 3)
    assert [await cell.state(name) for name in ("old1", "old2", "old3")] == ["expired"] * 3
    assert await cell.told() == [("expired", "old1"), ("expired", "old2"), ("expired", "old3")]
    assert await cell.redis.exists(cell.key("body:old1")) == 0


async def test_a_claim_examines_at_most_200_messages(cell: Cell) -> None:
    names = [f"k{n:03}" for n in range(250)]
    for at in range(0, len(names), 50):
        await cell.queue(*names[at : at + 50], expires_at="2001-01-01T00:00:00Z")
    await cell.own()
    batch = await cell.claim()
    assert (batch.expired, batch.state, batch.wait_s) == (200, "kept", 0)
    batch = await cell.claim()
    assert (batch.expired, batch.state) == (50, "released")


async def test_at_most_200_messages_are_handed_out_a_claim(cell: Cell) -> None:
    for at in range(0, 250, 50):
        await cell.queue(*(f"k{at + n}" for n in range(50)))
    await cell.own()
    batch = await cell.claim(rate_per_s=100_000.0, room=Room(1000, 1000, 1000))
    assert (len(batch.messages), batch.state) == (200, "kept")


async def test_a_message_without_a_body_is_dead_and_the_others_go(cell: Cell) -> None:
    await cell.queue("k1", "k2")
    await cell.redis.delete(cell.key("body:k1"))
    await cell.own()
    batch = await cell.claim()
    assert (keys_of(batch.messages), batch.lost) == (["k2"], 1)
    record = await cell.record()
    assert (record["state"], record["cause"]) == ("dead", "lost")
    assert await cell.sets_of("k1") == {"dead"}


async def test_a_stray_in_a_lane_is_dropped_and_not_sent_again(cell: Cell) -> None:
    claimed = await cell.claimed("k1")
    await cell.settle(claimed, "accepted")
    await cell.redis.zadd(cell.cell.lane(NUMBER, 1), {"k1": 1})
    assert await cell.claim_all() == []
    assert await cell.state() == "accepted"
    assert await cell.lane() == []


# the gate


async def closed(cell: Cell, *, for_us: int = HOUR_US, why: str = "throttled", credential: str = "") -> None:
    """Close the gate by the answer to a message of its own."""
    claimed = await cell.claimed("closer")
    await cell.settle(claimed, "reject", gate="close", gate_for_us=for_us, why=why, credential=credential)


async def test_a_closed_gate_hands_out_nothing_until_its_time(cell: Cell) -> None:
    await closed(cell)
    await cell.queue("k1")
    await cell.own()
    batch = await cell.claim()
    assert (batch.state, batch.messages, batch.streak) == ("released", [], 1)
    assert await cell.score("due", NUMBER) == int((await cell.gate())["until"])


async def test_a_gate_reopens_with_one_message_of_the_highest_lane(cell: Cell) -> None:
    await closed(cell)
    await cell.queue("n1", "n2")
    await cell.queue("u1", "u2", priority="urgent")
    await cell.end_block()
    await cell.own()
    await cell.fix_tokens(4)
    batch = await cell.claim()
    assert (keys_of(batch.messages), batch.state) == (["u1"], "released")
    assert await cell.score("due", NUMBER) == batch.claimed_at_us + 5 * SECOND_US
    await cell.own()
    assert (await cell.claim()).messages == []


async def test_a_probe_that_is_never_answered_is_followed_by_another(cell: Cell) -> None:
    await closed(cell)
    await cell.queue("k1", "k2", "k3")
    await cell.end_block()
    for name in ("k1", "k2"):
        await cell.own()
        await cell.refill()
        assert keys_of((await cell.claim()).messages) == [name]
        await cell.set_gate(probe=await cell.now() - 1)


async def test_a_probe_that_is_accepted_opens_the_gate_and_wakes_the_number(cell: Cell) -> None:
    await closed(cell)
    await cell.queue("k1", "k2", "k3")
    await cell.end_block()
    await cell.own()
    await cell.fix_tokens(4)
    batch = await cell.claim()
    await cell.settle(batch.messages[0], "accepted", gate="open", claimed_us=batch.claimed_at_us)
    gate = await cell.gate()
    assert (gate["streak"], gate["until"], gate["probe"], gate["why"]) == ("0", "0", "0", "")
    assert await cell.take() == [NUMBER]
    assert keys_of((await cell.claim()).messages) == ["k2", "k3"]


async def test_a_probe_given_back_lets_the_next_claim_try_at_once(cell: Cell) -> None:
    await closed(cell)
    await cell.queue("k1")
    await cell.end_block()
    await cell.own()
    await cell.fix_tokens(4)
    batch = await cell.claim()
    await cell.settle(batch.messages[0], "release", claimed_us=batch.claimed_at_us)
    assert await cell.take() == [NUMBER]
    assert keys_of((await cell.claim()).messages) == ["k1"]


async def test_a_gate_closed_for_a_bad_token_is_open_to_another_token(cell: Cell) -> None:
    await closed(cell, why="credential", credential=TOKEN)
    await cell.queue("k1")
    await cell.own()
    assert (await cell.claim(credential=TOKEN)).messages == []
    await cell.own()
    assert keys_of((await cell.claim(credential="other")).messages) == ["k1"]


# stops


async def test_a_cancel_stop_needs_neither_token_nor_room_nor_open_gate(cell: Cell) -> None:
    await closed(cell)
    await cell.queue("k1", "k2")
    await cell.stop(f"waba:{WABA}", "cancel")
    await cell.own()
    await cell.fix_tokens(0)
    batch = await cell.claim(room=Room(0, 0, 0))
    assert (batch.cancelled, batch.messages, batch.state) == (2, [], "released")
    assert [await cell.state(name) for name in ("k1", "k2")] == ["cancelled"] * 2
    assert (await cell.record())["cause"] == "stop"


async def test_parking_lets_others_pass_by(cell: Cell) -> None:
    await cell.queue("k1", "k2", content=template("paused"))
    await cell.queue("k3")
    await cell.stop(f"template:{WABA}:paused")
    await cell.own()
    await cell.fix_tokens(1)
    batch = await cell.claim()
    assert (batch.parked, keys_of(batch.messages)) == (2, ["k3"])
    assert await cell.members(f"parked:template:{WABA}:paused") == ["k1", "k2"]
    assert await cell.sets_of("k1") == {f"parked:template:{WABA}:paused", "expiry"}


async def test_a_parked_record_stays_small_however_long_the_template_is_called(cell: Cell) -> None:
    given = message("k1", content=template("t" * 300))
    await cell.enqueue(given)
    await cell.stop(f"template:{WABA}:{'t' * 300}")
    await cell.own()
    assert (await cell.claim()).parked == 1
    assert await cell.redis.object("encoding", cell.key("msg:k1")) in {b"listpack", b"ziplist"}
    record = await cell.run(queue.look, "k1")
    assert record is not None
    assert record.cause.startswith(f"stopped:template:{WABA}:ttt")
    assert await cell.run(stops.lift, f"template:{WABA}:{'t' * 300}", [NUMBER])
    assert keys_of(await cell.claim_all()) == ["k1"]


async def test_ample_room_is_no_reason_to_claim_more_than_the_bucket_holds(cell: Cell) -> None:
    await cell.queue(*"abcdefgh")
    await cell.own()
    assert len((await cell.claim(room=AMPLE, rate_per_s=10.0)).messages) == 1

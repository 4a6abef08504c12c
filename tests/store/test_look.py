"""Look and cancel: how a message stands, what it waits for, and taking it back."""

from datetime import UTC, datetime, timedelta

import pytest

from dispatcher.store import numbers, queue, stops, work
from dispatcher.store.queue import Record
from tests.store.cell import HOUR_US, NUMBER, OWNER, SECOND_US, TOKEN, WABA, Cell, published, template


async def looked(cell: Cell, key: str = "k1") -> Record:
    found = await cell.run(queue.look, key)
    assert found is not None
    return found


async def served(cell: Cell) -> None:
    await cell.run(numbers.publish, [published(NUMBER, "otp-us", 80, WABA)])
    await cell.run(work.announce, OWNER, dict.fromkeys([NUMBER], TOKEN))
    await cell.run(work.tend, OWNER)


async def cause(cell: Cell, key: str = "k1") -> str:
    found = await looked(cell, key)
    assert found.state == "queued"
    return found.cause


async def test_an_unknown_key_is_nothing(cell: Cell) -> None:
    assert await cell.run(queue.look, "k1") is None


async def test_a_waiting_message_shows_all_that_is_known(cell: Cell) -> None:
    await served(cell)
    before = datetime.now(UTC) - timedelta(seconds=1)
    await cell.queue("k1", ttl_s=60)
    found = await looked(cell)
    assert found.enqueued_at is not None
    assert found.enqueued_at > before
    assert found == Record(
        key="k1", state="queued", cause="rate", number=NUMBER, priority="normal", recipient="+15551234567", attempts=0,
        wamid="", error="", enqueued_at=found.enqueued_at, due_at=found.enqueued_at, claimed_at=None, settled_at=None,
        expires_at=found.enqueued_at + timedelta(seconds=60),
    )  # fmt: skip


async def test_a_settled_message_shows_its_wamid_and_times(cell: Cell) -> None:
    claimed = await cell.claimed()
    await cell.settle(claimed, "accepted", "wamid.1")
    found = await looked(cell)
    assert (found.state, found.cause, found.wamid, found.attempts) == ("accepted", "", "wamid.1", 1)
    assert None not in (found.enqueued_at, found.due_at, found.claimed_at, found.settled_at)


async def test_a_dead_message_shows_what_it_died_of(cell: Cell) -> None:
    claimed = await cell.claimed()
    await cell.settle(claimed, "reject", error="131026 undeliverable")
    found = await looked(cell)
    assert (found.state, found.cause, found.error) == ("dead", "rejected", "131026 undeliverable")


async def test_a_number_nobody_serves_is_no_worker(cell: Cell) -> None:
    await cell.queue("k1")
    assert await cause(cell) == "no_worker"
    await cell.run(work.announce, OWNER, dict.fromkeys(["1"], TOKEN))
    await cell.run(work.tend, OWNER)
    assert await cause(cell) == "no_worker"


async def test_a_process_that_fell_silent_serves_nobody(cell: Cell) -> None:
    await served(cell)
    await cell.queue("k1")
    await cell.redis.zadd(cell.key("processes"), {OWNER: await cell.now() - 11 * SECOND_US})
    assert await cause(cell) == "no_worker"


async def test_a_closed_gate_is_blocked_and_says_why(cell: Cell) -> None:
    await served(cell)
    claimed = await cell.claimed("closer")
    await cell.settle(claimed, "reject", gate="close", gate_for_us=HOUR_US, why="throttled")
    await cell.queue("k1")
    assert await cause(cell) == "blocked"
    await cell.end_block()
    assert await cause(cell) == "rate"


async def test_a_gate_that_waits_for_its_probe_is_blocked(cell: Cell) -> None:
    await served(cell)
    claimed = await cell.claimed("closer")
    await cell.settle(claimed, "reject", gate="close", gate_for_us=HOUR_US, why="throttled")
    await cell.end_block()
    await cell.queue("probe", "k1")
    await cell.own()
    await cell.refill()
    await cell.claim()
    assert await cause(cell) == "blocked"


async def test_not_before_says_so(cell: Cell) -> None:
    await served(cell)
    await cell.queue("k1", not_before="2222-01-01T00:00:00Z")
    found = await looked(cell)
    assert (found.cause, found.due_at) == ("not_before", datetime(2222, 1, 1, tzinfo=UTC))


async def test_a_message_put_off_for_its_recipient_waits_for_the_pair(cell: Cell) -> None:
    await served(cell)
    claimed = await cell.claimed()
    await cell.settle(claimed, "snooze", 600 * SECOND_US, error="131056 pair rate limit")
    assert await cause(cell) == "pair"


@pytest.mark.parametrize(
    "scope",
    [
        "all", f"number:{NUMBER}", f"waba:{WABA}", f"credential:{TOKEN}", f"lane:{NUMBER}:normal",
        f"template:{WABA}:shipped", "campaign:spring",
    ],
)  # fmt: skip
async def test_a_stop_is_named_before_and_after_a_claim_meets_it(cell: Cell, scope: str) -> None:
    await served(cell)
    await cell.own()
    await cell.claim()
    await cell.queue("k1", content=template("shipped"), campaign="spring")
    await cell.stop(scope)
    assert await cause(cell) == f"stopped:{scope}"
    await cell.own()
    await cell.claim()
    assert await cause(cell) == f"stopped:{scope}"
    await cell.run(stops.lift, scope, [NUMBER])
    assert await cause(cell) == "rate"


async def test_a_stop_whose_time_is_over_is_no_cause(cell: Cell) -> None:
    await served(cell)
    await cell.queue("k1")
    await cell.stop("all", until=datetime.now(UTC) - timedelta(seconds=1))
    assert await cause(cell) == "rate"


async def test_a_message_is_expired_from_the_second_on(cell: Cell) -> None:
    await cell.queue("k1")
    await cell.stop("all")
    await cell.end_time("k1")
    found = await looked(cell)
    assert (found.state, found.cause) == ("expired", "")


async def test_what_is_under_way_waits_for_nothing(cell: Cell) -> None:
    await cell.claimed()
    await cell.stop("all")
    found = await looked(cell)
    assert (found.state, found.cause) == ("sending", "")


# cancel


async def test_a_waiting_message_is_cancelled_and_gone_from_its_lane(cell: Cell) -> None:
    await cell.queue("k1", "k2")
    assert await cell.run(queue.cancel, "k1") == ("cancelled", "queued")
    assert await cell.state() == "cancelled"
    assert await cell.lane() == ["k2"]
    assert await cell.sets_of("k1") == set()
    assert await cell.redis.exists(cell.key("body:k1")) == 0
    assert await cell.told() == [("cancelled", "k1")]


async def test_cancelling_again_changes_nothing(cell: Cell) -> None:
    await cell.queue("k1")
    await cell.run(queue.cancel, "k1")
    assert await cell.run(queue.cancel, "k1") == ("settled", "cancelled")
    assert len(await cell.told()) == 1


@pytest.mark.parametrize("outcome", ["", "uncertain"])
async def test_what_is_under_way_or_uncertain_is_marked(cell: Cell, outcome: str) -> None:
    claimed = await cell.claimed()
    if outcome:
        await cell.settle(claimed, outcome)
    assert await cell.run(queue.cancel, "k1") == ("marked", outcome or "sending")
    assert (await cell.record())["cancel"] == "1"


async def test_an_unknown_message_cannot_be_cancelled(cell: Cell) -> None:
    assert await cell.run(queue.cancel, "k1") == ("unknown", "")
    assert await cell.redis.keys("*") == []

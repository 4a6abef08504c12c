"""Stops: what must not go now does not, in each scope, and comes back when the stop is lifted."""

from datetime import UTC, datetime, timedelta

import pytest

from dispatcher import errors
from dispatcher.store import queue, stops
from dispatcher.store.stops import Stop
from tests.store.cell import NUMBER, OTHER, SECOND_US, TOKEN, WABA, Cell, keys_of, template

WIDE = ["all", f"number:{NUMBER}", f"waba:{WABA}", f"credential:{TOKEN}", f"lane:{NUMBER}:normal"]
NARROW = [f"template:{WABA}:shipped", "campaign:spring"]


async def one_of_each(cell: Cell) -> None:
    """One message that every scope covers, and one that none of the narrower ones does."""
    await cell.queue("covered", content=template("shipped"), campaign="spring")


@pytest.mark.parametrize("scope", WIDE)
async def test_a_hold_leaves_messages_where_they_are_until_it_is_lifted(cell: Cell, scope: str) -> None:
    await one_of_each(cell)
    await cell.stop(scope)
    await cell.own()
    batch = await cell.claim()
    assert (batch.state, batch.messages, batch.parked) == ("released", [], 0)
    assert await cell.lane() == ["covered"]
    assert (await cell.score("due", NUMBER) or 0) <= batch.claimed_at_us + 30 * SECOND_US
    assert await cell.run(stops.lift, scope, [NUMBER]) is True
    assert await cell.take() == [NUMBER]
    assert keys_of((await cell.claim()).messages) == ["covered"]


@pytest.mark.parametrize("scope", NARROW)
async def test_a_hold_of_a_template_or_campaign_parks_what_it_meets(cell: Cell, scope: str) -> None:
    await one_of_each(cell)
    place = await cell.score(f"lane:{NUMBER}:1", "covered")
    await cell.stop(scope)
    await cell.own()
    assert (await cell.claim()).parked == 1
    assert await cell.sets_of("covered") == {f"parked:{scope}", "expiry"}
    assert await cell.redis.smembers(cell.key("parked")) == {scope.encode()}
    assert (await cell.run(stops.unpark)).more == 0
    assert await cell.lane() == []
    assert await cell.run(stops.lift, scope, [NUMBER]) is True
    assert await cell.score(f"lane:{NUMBER}:1", "covered") == place
    assert await cell.sets_of("covered") == {f"lane:{NUMBER}:1", "expiry"}
    assert await cell.redis.exists(cell.key("parked")) == 0
    assert await cell.take() == [NUMBER]
    assert keys_of((await cell.claim()).messages) == ["covered"]


@pytest.mark.parametrize("scope", [*WIDE, *NARROW])
async def test_a_cancel_settles_what_it_meets(cell: Cell, scope: str) -> None:
    await one_of_each(cell)
    await cell.stop(scope, "cancel")
    await cell.own()
    batch = await cell.claim()
    assert (batch.cancelled, batch.messages) == (1, [])
    record = await cell.record("covered")
    assert (record["state"], record["cause"]) == ("cancelled", "stop")
    assert await cell.sets_of("covered") == set()


@pytest.mark.parametrize(
    "scope",
    [
        f"number:{OTHER}", "waba:1", "credential:ffff", f"lane:{NUMBER}:urgent", f"lane:{OTHER}:normal",
        f"template:{WABA}:other", "template:1:shipped", "campaign:autumn",
    ],
)  # fmt: skip
async def test_a_stop_of_something_else_stops_nothing(cell: Cell, scope: str) -> None:
    await one_of_each(cell)
    await cell.stop(scope)
    assert keys_of(await cell.claim_all()) == ["covered"]


async def test_a_stopped_lane_does_not_stop_the_others(cell: Cell) -> None:
    for priority in ("urgent", "normal", "bulk"):
        await cell.queue(priority, priority=priority)
    await cell.stop(f"lane:{NUMBER}:normal")
    assert keys_of(await cell.claim_all()) == ["urgent", "bulk"]


async def test_a_cancel_outweighs_a_hold(cell: Cell) -> None:
    await cell.queue("k1")
    await cell.stop("all", "hold")
    await cell.stop(f"number:{NUMBER}", "cancel")
    await cell.own()
    assert (await cell.claim()).cancelled == 1


async def test_a_stop_whose_time_is_over_stops_nothing(cell: Cell) -> None:
    await cell.queue("k1", campaign="spring")
    for scope in ("all", "campaign:spring"):
        await cell.stop(scope, until=datetime.now(UTC) - timedelta(seconds=1))
    assert keys_of(await cell.claim_all()) == ["k1"]


async def test_a_held_number_is_looked_at_when_the_stop_ends(cell: Cell) -> None:
    await cell.queue("k1")
    until = datetime.now(UTC) + timedelta(seconds=10)
    await cell.stop("all", until=until)
    await cell.own()
    await cell.claim()
    assert await cell.score("due", NUMBER) == round(until.timestamp() * SECOND_US)


async def test_parked_messages_come_back_when_the_time_of_their_stop_is_over(cell: Cell) -> None:
    await cell.queue("k1", campaign="spring")
    await cell.stop("campaign:spring")
    await cell.own()
    await cell.claim()
    await cell.stop("campaign:spring", until=datetime.now(UTC) - timedelta(seconds=1))
    await cell.run(stops.unpark)
    assert await cell.take() == [NUMBER]
    assert keys_of((await cell.claim()).messages) == ["k1"]


async def test_parked_messages_are_cancelled_when_their_stop_becomes_a_cancel(cell: Cell) -> None:
    await cell.queue("k1", campaign="spring")
    await cell.stop("campaign:spring")
    await cell.own()
    await cell.claim()
    await cell.stop("campaign:spring", "cancel")
    await cell.run(stops.unpark)
    assert await cell.state() == "cancelled"
    assert await cell.sets_of("k1") == set()


async def test_a_parked_message_that_was_cancelled_or_accepted_is_not_moved_back(cell: Cell) -> None:
    await cell.queue("k1", "k2", campaign="spring")
    claimed = {entry.key: entry for entry in await cell.claim_all()}
    for entry in claimed.values():
        await cell.settle(entry, "release")
    await cell.stop("campaign:spring")
    await cell.own()
    assert (await cell.claim()).parked == 2
    await cell.run(queue.cancel, "k1")
    await cell.settle(claimed["k2"], "accepted")
    assert await cell.members("parked:campaign:spring") == []
    await cell.run(stops.lift, "campaign:spring", [NUMBER])
    assert await cell.lane() == []


async def test_thousands_of_parked_messages_go_back_in_steps(cell: Cell) -> None:
    for at in range(0, 500, 50):
        await cell.queue(*(f"k{at + n:03}" for n in range(50)), campaign="spring")
    await cell.stop("campaign:spring")
    await cell.own()
    assert [(await cell.claim()).parked for _ in range(3)] == [200, 200, 100]
    await cell.redis.hdel(cell.key("stops"), "campaign:spring")
    assert [(await cell.run(stops.unpark)).more for _ in range(3)] == [1, 1, 0]
    assert await cell.lane() == [f"k{n:03}" for n in range(500)]


async def test_what_two_stops_cover_waits_until_both_are_lifted(cell: Cell) -> None:
    await one_of_each(cell)
    for scope in NARROW:
        await cell.stop(scope)
    await cell.own()
    await cell.claim()
    for scope, expected in zip(NARROW, ([], ["covered"]), strict=True):
        await cell.run(stops.lift, scope, [NUMBER])
        assert keys_of(await cell.claim_all()) == expected


async def test_lifting_what_is_not_stopped_says_so(cell: Cell) -> None:
    assert await cell.run(stops.lift, "all", [NUMBER]) is False


async def test_stops_are_listed_with_who_and_when(cell: Cell) -> None:
    until = datetime(2222, 1, 1, tzinfo=UTC)
    before = datetime.now(UTC) - timedelta(seconds=1)
    await cell.run(stops.add, Stop("waba:1", "cancel", 'a "reason" → ü', "anna", until=until))
    await cell.stop("all")
    first, second = await cell.run(stops.all_)
    assert (first.scope, first.action, first.until) == ("all", "hold", None)
    assert (second.scope, second.action, second.reason, second.by) == ("waba:1", "cancel", 'a "reason" → ü', "anna")
    assert second.until == until
    assert second.since is not None
    assert second.since > before


async def test_a_second_stop_of_the_same_scope_replaces_the_first(cell: Cell) -> None:
    await cell.stop("all", "cancel")
    await cell.stop("all", "hold")
    assert [stop.action for stop in await cell.run(stops.all_)] == ["hold"]


@pytest.mark.parametrize(
    ("scope", "reason"),
    [
        ("nunber:1", '"nunber:1" is none, did you mean number?'),
        ("everything", '"everything" is none. Scopes are all, '),
        ("number:x", '"number:x" is not complete. Scopes are all, '),
        ("lane:1:slow", '"lane:1:slow" is not complete. '),
        ("template:shipped", '"template:shipped" is not complete. '),
        ("all:1", '"all:1" is not complete. '),
    ],
)
async def test_a_scope_that_is_none_is_refused_with_what_would_be_right(cell: Cell, scope: str, reason: str) -> None:
    with pytest.raises(errors.Refused) as caught:
        await cell.stop(scope)
    assert (caught.value.field, caught.value.reason[: len(reason)]) == ("scope", reason)
    assert await cell.run(stops.all_) == []


async def test_an_action_that_is_none_is_refused(cell: Cell) -> None:
    with pytest.raises(errors.Refused, match=r'^action: must be "hold" or "cancel", given "stop"$'):
        await cell.stop("all", "stop")


async def test_template_stop_of_a_number_without_waba_works(cell: Cell) -> None:
    await cell.queue("k1", content=template("shipped"))
    await cell.stop("template::shipped")
    await cell.own()
    assert (await cell.claim(waba_id="")).parked == 1
    await cell.run(stops.lift, "template::shipped", [NUMBER])
    assert keys_of(await cell.claim_all(waba_id="")) == ["k1"]

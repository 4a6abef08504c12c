"""Counts of campaigns: each message once, whatever happens to it and however often it is told."""

from typing import Any

import pytest

from dispatcher.store import campaigns, queue, work
from dispatcher.store.campaigns import CampaignStanding
from tests.store.cell import HOUR_US, NUMBER, OTHER, Cell, message, template, text
from tests.store.test_poison import poison

DAY_US = 24 * HOUR_US


async def running(cell: Cell, most: int = 20) -> list[CampaignStanding]:
    return await cell.run(campaigns.running, most)


def standing(name: str, unsettled: int, **settled: int) -> CampaignStanding:
    none = dict.fromkeys(("accepted", "expired", "cancelled", "suppressed", "dead"), 0)
    return CampaignStanding(name, unsettled, none | settled)


async def test_what_is_queued_again_is_counted_once(cell: Cell) -> None:
    given = [message(key, campaign="spring") for key in ("k1", "k2", "k2")]
    await cell.enqueue(*given)
    await cell.enqueue(*given, message("k1", campaign="spring", content=text("else")))
    assert await cell.campaign() == {"queued": 2}


async def test_what_is_settled_again_is_counted_once(cell: Cell) -> None:
    await cell.queue("k1", "k2", "k3", campaign="spring")
    first, second, third = await cell.claim_all()
    for _ in range(2):
        await cell.settle(first, "accepted", "wamid.1")
        await cell.settle(second, "reject")
        await cell.settle(third, "retry", HOUR_US)
        await cell.run(queue.cancel, "k3")
    assert await cell.campaign() == {"queued": 3, "accepted": 1, "dead": 1, "cancelled": 1}
    assert await running(cell) == [standing("spring", 0, accepted=1, dead=1, cancelled=1)]


async def test_what_is_settled_on_the_way_is_counted(cell: Cell) -> None:
    await cell.queue("k1", "k2", "k3", "k4", campaign="spring")
    await cell.end_time("k1")
    await cell.run(work.tend, "process-1")
    await cell.end_time("k2")
    await cell.redis.delete(cell.key("body:k3"))
    await cell.claim_all()
    assert await cell.campaign() == {"queued": 4, "expired": 2, "dead": 1}
    assert await running(cell) == [standing("spring", 1, expired=2, dead=1)]


async def test_a_message_that_moves_between_settled_states_is_counted_where_it_is(cell: Cell) -> None:
    for key, outcome in (("k1", "uncertain"), ("k2", "accepted"), ("k3", "accepted")):
        await cell.settle(await cell.claimed(key, campaign="spring"), outcome)
    await cell.end_time("k1")
    await cell.run(work.tend, "process-1")
    assert await cell.campaign() == {"queued": 3, "dead": 1, "accepted": 2}
    assert await cell.receipt("k1", "delivered") == "delivered"
    assert await cell.receipt("k2", "failed", code=131000) == "queued"
    assert await cell.receipt("k3", "failed", code=131026) == "dead"
    assert await cell.campaign() == {"queued": 3, "accepted": 1, "dead": 1}


async def test_a_message_of_no_campaign_costs_nothing(cell: Cell) -> None:
    await cell.settle(await cell.claimed(), "accepted")
    assert not await cell.redis.exists(cell.key("campaigns"))


async def test_a_message_costs_one_command_more(cell: Cell) -> None:
    """The first of a state is written into the index, as each 16th is."""

    async def commands(number: str, **fields: Any) -> int:
        await cell.queue(*(f"{number}-{n}" for n in range(1, 4)), number=number, **fields)
        await cell.redis.config_resetstat()
        await cell.queue(*(f"{number}-{n}" for n in range(4, 14)), number=number, **fields)
        stats = await cell.redis.info("commandstats")
        return sum(int(row["calls"]) for row in stats.values())

    assert await commands(OTHER, campaign="spring") - await commands(NUMBER) == 10


async def test_counts_are_kept_for_30_days_after_the_last_activity(cell: Cell) -> None:
    await cell.queue("k1", campaign="spring")
    assert await cell.redis.ttl(cell.key("campaign:spring")) in range(30 * 86_400 - 10, 30 * 86_400 + 1)
    assert abs((await cell.score("campaigns", "spring") or 0) - await cell.now()) < HOUR_US


async def test_silent_campaigns_are_forgotten(cell: Cell) -> None:
    for name in ("old", "spring"):
        await cell.queue(name, campaign=name)
    await cell.redis.zadd(cell.key("campaigns"), {"old": await cell.now() - 31 * DAY_US})
    await cell.run(campaigns.forget)
    assert await cell.members("campaigns") == ["spring"]
    assert await cell.campaign("old") == {}
    assert await cell.campaign("spring") == {"queued": 1}


async def test_of_too_many_campaigns_those_silent_longest_are_forgotten(cell: Cell) -> None:
    now = await cell.now()
    names = {f"c{n}": now - DAY_US + n for n in range(campaigns.CAMPAIGNS_MAX + 1200)}
    await cell.redis.zadd(cell.key("campaigns"), names)
    await cell.redis.hset(cell.key("campaign:c0"), "queued", 1)
    await cell.run(campaigns.forget)
    left = await cell.members("campaigns")
    assert (len(left), left[0]) == (campaigns.CAMPAIGNS_MAX, "c1200")
    assert await cell.campaign("c0") == {}


async def test_those_with_most_unsettled_come_first_and_ended_ones_stay_for_a_while(cell: Cell) -> None:
    await cell.queue(*(f"a{n}" for n in range(3)), campaign="small")
    await cell.queue(*(f"b{n}" for n in range(20)), campaign="large", number=OTHER)
    await cell.queue("c", "d", campaign="ended")
    await cell.run(queue.cancel, "c")
    await cell.run(queue.cancel, "d")
    found = await running(cell)
    assert found == [standing("large", 20), standing("small", 3), standing("ended", 0, cancelled=2)]
    assert await running(cell, 2) == found[:2]
    long_ago = await cell.now() - HOUR_US
    await cell.redis.zadd(cell.key("campaigns"), {"ended": long_ago, "small": long_ago})
    assert await running(cell) == found[:2]


@pytest.mark.parametrize("kind", ["string", "list", "set", "zset", "hash"])
async def test_a_poisoned_count_stops_no_message(cell: Cell, kind: str) -> None:
    await poison(cell, cell.key("campaign:spring"), kind)
    await poison(cell, cell.key("campaigns"), "list")
    await cell.queue("k1", campaign="spring")
    assert await running(cell) == []
    [claimed] = await cell.claim_all()
    assert await cell.settle(claimed, "accepted") == "accepted"
    await cell.redis.delete(cell.key("campaigns"))
    await cell.redis.zadd(cell.key("campaigns"), {"spring": await cell.now()})
    [found] = await running(cell)
    assert found.unsettled == 0


@pytest.mark.parametrize("value", ["", "garbage", "1.5", "-3", "9" * 30, b"\xff"])
async def test_a_count_that_is_no_number_stops_no_message(cell: Cell, value: Any) -> None:
    for state in ("queued", "accepted"):
        await cell.redis.hset(cell.key("campaign:spring"), state, value)
    await cell.redis.zadd(cell.key("campaigns"), {"spring": await cell.now()})
    await cell.queue("k1", campaign="spring", content=template())
    [claimed] = await cell.claim_all()
    assert await cell.settle(claimed, "accepted") == "accepted"
    [found] = await running(cell)
    assert found.name == "spring"


async def test_campaigns_of_hostile_names_are_counted_apart(cell: Cell) -> None:
    names = ["a:b", "a", "b", "a@b=+c", "x" * 64]
    for n, name in enumerate(names):
        await cell.queue(f"k{n}", campaign=name)
    found = {each.name: each.unsettled for each in await running(cell)}
    assert len(found) == len(names)
    assert set(found.values()) == {1}

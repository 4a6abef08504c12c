"""Tend: leases that end, times that run out, processes that fall silent; in bounded steps."""

from dispatcher.store import work
from dispatcher.store.work import Tended
from tests.store.cell import HOUR_US, NUMBER, SECOND_US, TOKEN, Cell, keys_of

NOTHING = Tended(more=0, unknown=0, uncertain=0, lapsed=0, expired=0, held=0, lost=0)
PROCESS = "process-1"


async def tended(cell: Cell) -> Tended:
    await cell.run(work.announce, PROCESS, dict.fromkeys([NUMBER], TOKEN))
    return await cell.run(work.tend, PROCESS)


async def test_nothing_to_do_is_nothing_done(cell: Cell) -> None:
    await cell.queue("k1")
    await cell.claimed("k2")
    assert await tended(cell) == NOTHING


async def test_a_lease_that_ended_makes_a_message_uncertain(cell: Cell) -> None:
    await cell.claimed("k1")
    await cell.end_lease("k1")
    before = await cell.now()
    assert (await tended(cell)).uncertain == 1
    record = await cell.record()
    assert (record["state"], record["lapses"], record["attempts"]) == ("uncertain", "1", "1")
    assert (await cell.score("uncertain", "k1") or 0) >= before + 60 * SECOND_US
    assert await cell.sets_of("k1") == {"uncertain", "expiry"}
    assert await cell.told() == [("uncertain", "k1")]
    assert await tended(cell) == NOTHING


async def test_a_message_whose_worker_died_three_times_is_dead(cell: Cell) -> None:
    await cell.queue("k1")
    found = []
    for _ in range(3):
        [claimed] = await cell.claim_all()
        await cell.end_lease("k1")
        step = await tended(cell)
        found.append((step.uncertain, step.lapsed))
        await cell.settle(claimed, "release")
    assert found == [(1, 0), (1, 0), (0, 1)]
    record = await cell.record()
    assert (record["state"], record["cause"], record["error"]) == ("dead", "lapsed", "lease ended")
    assert await cell.sets_of("k1") == {"dead"}


async def test_a_waiting_message_whose_time_ran_out_is_expired(cell: Cell) -> None:
    await cell.queue("k1", callback_data="order=1")
    await cell.end_time("k1")
    assert (await tended(cell)).expired == 1
    assert await cell.state() == "expired"
    assert await cell.sets_of("k1") == set()
    assert await cell.redis.exists(cell.key("body:k1")) == 0
    [event] = await cell.events()
    assert (event["type"], event["extra"]) == ("expired", '{"callback_data": "order=1"}')


async def test_a_parked_message_expires_like_any_other(cell: Cell) -> None:
    await cell.queue("k1", campaign="spring")
    await cell.stop("campaign:spring")
    await cell.own()
    await cell.claim()
    await cell.end_time("k1")
    assert (await tended(cell)).expired == 1
    assert await cell.sets_of("k1") == set()


async def test_an_uncertain_message_whose_time_ran_out_is_held_and_not_plainly_expired(cell: Cell) -> None:
    claimed = await cell.claimed()
    await cell.settle(claimed, "uncertain")
    await cell.end_time("k1")
    assert (await tended(cell)).held == 1
    record = await cell.record()
    assert (record["state"], record["cause"]) == ("dead", "held")
    assert await cell.redis.exists(cell.key("body:k1")) == 1


async def test_what_is_under_way_is_not_expired_until_its_lease_ends(cell: Cell) -> None:
    claimed = await cell.claimed()
    await cell.end_time("k1")
    assert await tended(cell) == NOTHING
    assert await cell.score("expiry", "k1") == await cell.score("sending", "k1")
    assert await cell.settle(claimed, "accepted") == "accepted"


async def test_what_comes_back_after_its_time_ran_out_is_expired(cell: Cell) -> None:
    claimed = await cell.claimed()
    await cell.end_time("k1")
    await tended(cell)
    await cell.settle(claimed, "release")
    assert (await tended(cell)).expired == 1


async def test_a_step_is_bounded_and_says_that_there_is_more(cell: Cell) -> None:
    for at in range(0, 250, 50):
        await cell.queue(*(f"k{at + n}" for n in range(50)), expires_at="2001-01-01T00:00:00Z")
    steps = [await tended(cell) for _ in range(3)]
    assert [(step.more, step.expired) for step in steps] == [(True, 200), (False, 50), (False, 0)]


async def test_a_message_on_its_way_in_nobodys_hands_becomes_uncertain(cell: Cell) -> None:
    await cell.claimed()
    await cell.redis.zrem(cell.key("sending"), "k1")
    await cell.end_time("k1")
    assert (await tended(cell)).uncertain == 1
    assert await cell.sets_of("k1") == {"uncertain", "expiry"}


async def test_a_stray_lease_is_dropped_and_the_message_left_alone(cell: Cell) -> None:
    claimed = await cell.claimed()
    await cell.settle(claimed, "accepted")
    await cell.redis.zadd(cell.key("sending"), {"k1": 1})
    await cell.redis.zadd(cell.key("expiry"), {"k1": 1})
    assert await tended(cell) == NOTHING
    assert (await cell.state(), await cell.sets_of("k1")) == ("accepted", set())


async def test_what_lost_its_record_under_way_is_dead_and_counted(cell: Cell) -> None:
    await cell.claimed()
    await cell.redis.delete(cell.key("msg:k1"))
    await cell.end_lease("k1")
    assert (await tended(cell)).lost == 1
    record = await cell.record()
    assert (record["state"], record["cause"]) == ("dead", "lost")
    assert await cell.sets_of("k1") == {"dead"}
    assert await cell.told() == [("dead", "k1")]


async def test_what_lost_its_record_while_it_waited_is_dead_and_counted(cell: Cell) -> None:
    await cell.queue("k1")
    await cell.redis.delete(cell.key("msg:k1"))
    await cell.redis.zadd(cell.key("expiry"), {"k1": 1})
    assert (await tended(cell)).lost == 1
    assert await cell.state() == "dead"
    assert await cell.claim_all() == []


async def test_a_process_that_was_forgotten_is_told_so(cell: Cell) -> None:
    assert (await cell.run(work.tend, PROCESS)).unknown == 1
    assert (await tended(cell)).unknown == 0


async def test_a_process_that_tends_counts_as_alive(cell: Cell) -> None:
    await cell.run(work.announce, PROCESS, dict.fromkeys([NUMBER], TOKEN))
    await cell.redis.pexpire(cell.cell.serves(PROCESS), 100)
    await cell.redis.zadd(cell.key("processes"), {PROCESS: 1, "gone": await cell.now() - HOUR_US})
    await cell.run(work.tend, PROCESS)
    assert await cell.members("processes") == [PROCESS]
    assert await cell.redis.pttl(cell.cell.serves(PROCESS)) > 5000


async def test_two_processes_tend_side_by_side_and_each_lease_ends_once(cell: Cell) -> None:
    await cell.queue(*"abcdefgh")
    claimed = await cell.claim_all()
    await cell.end_lease(*keys_of(claimed))
    first = await cell.run(work.tend, "process-1")
    second = await cell.run(work.tend, "process-2")
    assert (first.uncertain, second.uncertain) == (8, 0)

"""Take and release: who serves a number, and that nobody waits for who is gone."""

import asyncio

from dispatcher.store import work
from dispatcher.store.schema import PROCESS_ALIVE_S
from dispatcher.store.work import ANNOUNCED_A_CALL, WOKEN_A_CALL
from tests.store.cell import HOUR_US, LEASES, NUMBER, OTHER, SECOND_US, TOKEN, Cell


async def test_take_brings_what_is_due_and_makes_its_time_a_lease(cell: Cell) -> None:
    await cell.queue("k1")
    before = await cell.now()
    assert await cell.take("process-1") == [NUMBER]
    after = await cell.now()
    lease_us = round(LEASES.number_lease_s * SECOND_US)
    assert before + lease_us <= (await cell.score("due", NUMBER) or 0) <= after + lease_us
    assert (await cell.gate())["owner"] == "process-1"


async def test_what_is_taken_is_not_taken_again_while_its_lease_holds(cell: Cell) -> None:
    await cell.queue("k1")
    await cell.take("process-1")
    assert await cell.take("process-2") == []
    assert await cell.take("process-1") == []


async def test_what_is_due_later_is_not_taken(cell: Cell) -> None:
    await cell.queue("k1", not_before="2222-01-01T00:00:00Z")
    assert await cell.take() == []


async def test_a_process_takes_only_numbers_it_has_a_token_for(cell: Cell) -> None:
    await cell.queue("k1")
    await cell.queue("k2", number=OTHER)
    assert await cell.take("process-1", [OTHER]) == [OTHER]
    assert await cell.take("process-2", [NUMBER]) == [NUMBER]


async def test_numbers_nobody_here_can_serve_are_passed_by(cell: Cell) -> None:
    now = await cell.now()
    foreign = {f"9{n:05}": now - HOUR_US for n in range(100)}
    await cell.redis.zadd(cell.key("due"), foreign)
    await cell.queue("k1")
    await cell.run(work.announce, "process-1", dict.fromkeys([NUMBER], TOKEN))
    assert await cell.run(work.take, "process-1") == (100, [])
    assert await cell.run(work.take, "process-1", passed_by=100) == (1, [NUMBER])


async def test_a_process_that_says_it_serves_others_now_takes_those(cell: Cell) -> None:
    await cell.queue("k1")
    await cell.run(work.announce, "process-1", dict.fromkeys([NUMBER], TOKEN))
    assert await cell.take("process-1", [OTHER]) == []
    assert await cell.take("process-1", []) == []


async def test_a_process_can_serve_thousands_of_numbers(cell: Cell) -> None:
    await cell.run(work.announce, "process-1", dict.fromkeys([f"{n}" for n in range(10_000)], TOKEN))
    assert await cell.redis.hlen(cell.cell.serves("process-1")) == 10_000


async def test_what_is_said_in_parts_holds_only_as_a_whole(cell: Cell) -> None:
    await cell.run(work.announce, "process-1", dict.fromkeys(["1", "2", "3"], TOKEN))
    many = {f"{n}": TOKEN for n in range(2 * ANNOUNCED_A_CALL + 1)}
    saying = asyncio.create_task(cell.run(work.announce, "process-1", many))
    seen = [await cell.command("HLEN", cell.cell.serves("process-1"))]
    while not saying.done():
        seen.append(await cell.command("HLEN", cell.cell.serves("process-1")))
    assert (sorted(set(seen)), len(seen) >= 3) == ([3, len(many)], True)
    assert 0 < await cell.redis.pttl(cell.cell.serves("process-1")) <= PROCESS_ALIVE_S * 1000
    assert await cell.redis.keys("*:next") == []


async def test_many_numbers_are_woken(cell: Cell) -> None:
    await cell.run(work.wake, [f"{n}" for n in range(2 * WOKEN_A_CALL + 1)])
    assert len(await cell.members("due")) == 2 * WOKEN_A_CALL + 1


async def test_another_process_takes_over_when_the_lease_has_ended(cell: Cell) -> None:
    await cell.queue("k1")
    await cell.take("process-1")
    await cell.end_ownership()
    assert await cell.take("process-2") == [NUMBER]
    batch = await cell.claim(owner="process-1")
    assert (batch.state, batch.messages) == ("lost", [])
    assert len((await cell.claim(owner="process-2")).messages) == 1


async def test_only_one_of_many_processes_gets_a_number(cell: Cell) -> None:
    names = [f"process-{n}" for n in range(20)]
    for name in names:
        await cell.run(work.announce, name, dict.fromkeys([NUMBER], TOKEN))
    await cell.queue("k1")
    found = await asyncio.gather(*(cell.run(work.take, name) for name in names))
    assert sorted(taken for _, taken in found) == [[]] * 19 + [[NUMBER]]


async def test_a_released_number_is_taken_at_once(cell: Cell) -> None:
    await cell.queue("k1")
    await cell.take("process-1")
    assert await cell.run(work.release, "process-1", [NUMBER]) == 1
    assert "owner" not in await cell.gate()
    assert await cell.take("process-2") == [NUMBER]


async def test_release_gives_back_only_what_is_ours(cell: Cell) -> None:
    await cell.queue("k1")
    await cell.take("process-1")
    lease = await cell.score("due", NUMBER)
    assert await cell.run(work.release, "process-2", [NUMBER, OTHER]) == 0
    assert (await cell.gate())["owner"] == "process-1"
    assert await cell.score("due", NUMBER) == lease
    assert await cell.members("due") == [NUMBER]


async def test_wake_makes_a_waiting_number_due(cell: Cell) -> None:
    await cell.queue("k1", not_before="2222-01-01T00:00:00Z")
    await cell.run(work.wake, [NUMBER])
    assert await cell.take() == [NUMBER]


async def test_wake_leaves_a_living_owner_in_peace(cell: Cell) -> None:
    await cell.queue("k1")
    await cell.take("process-1")
    lease = await cell.score("due", NUMBER)
    await cell.run(work.wake, [NUMBER])
    assert await cell.score("due", NUMBER) == lease


async def test_a_number_woken_without_work_is_given_back_and_forgotten(cell: Cell) -> None:
    await cell.run(work.wake, [NUMBER])
    assert await cell.take() == [NUMBER]
    assert (await cell.claim()).state == "released"
    assert await cell.members("due") == []
    assert "owner" not in await cell.gate()

"""How outcomes gather: one at once, then by the hundred, and never more calls than Redis should be kept busy with."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from dispatcher import errors
from dispatcher.store.scripts import Command
from dispatcher.store.work import Settlement
from dispatcher.worker.in_flight import InFlightMap, Settler


class SlowRedis:
    """A Redis that answers when it is told to; a bug shows wherever a `poison` key is settled, so often."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.answers = asyncio.Event()
        self.failure: Exception | None = None
        self.poison: dict[str, int] = {}

    def settle(self, settlements: Sequence[Settlement]) -> Command[list[str]]:
        """Carry the settlements, in place of what a script would be given."""
        return Command(cast("Any", tuple(settlements)), list)

    async def run(self, command: Command[list[str]]) -> list[str]:
        settlements = cast("tuple[Settlement, ...]", command.words)
        self.sizes.append(len(settlements))
        await self.answers.wait()
        if self.failure is not None:
            raise self.failure
        for key in {settlement.key for settlement in settlements} & self.poison.keys():
            self.poison[key] -= 1
            if self.poison[key] >= 0:
                raise TypeError(key)
        return ["accepted"] * len(settlements)


def settlement(key: str) -> Settlement:
    return Settlement(key, 1, "accepted", "106", 0, "+15551234567", "f", 1, "wamid.1")


async def test_outcomes_gather_behind_a_slow_call_until_a_batch_is_full() -> None:
    redis, heard, troubles = SlowRedis(), list[str](), list[str]()
    settler = Settler(
        redis.settle, redis.run, InFlightMap(lambda: 0.0), lambda one, _: heard.append(one.key),
        lambda: troubles.append("lost"),
    )  # fmt: skip
    keys = [f"k{place}" for place in range(450)]
    settler.put(settlement(keys[0]))
    await asyncio.sleep(0)
    for key in keys[1:]:
        settler.put(settlement(key))
    await asyncio.sleep(0)
    assert redis.sizes == [1, 100, 100]
    assert settler.is_busy
    redis.answers.set()
    await settler.drain()
    assert (redis.sizes, troubles) == ([1, 100, 100, 100, 100, 49], [])
    assert sorted(heard) == sorted(keys)
    assert not settler.is_busy


async def test_a_call_that_fails_leaves_what_it_had_to_be_told_again() -> None:
    redis, heard, troubles = SlowRedis(), list[str](), list[str]()
    settler = Settler(
        redis.settle, redis.run, InFlightMap(lambda: 0.0), lambda one, _: heard.append(one.key),
        lambda: troubles.append("lost"),
    )  # fmt: skip
    redis.failure = errors.QueueUnavailable("away")
    redis.answers.set()
    for place in range(250):
        settler.put(settlement(f"k{place}"))
    await settler.drain()
    assert troubles
    assert settler.is_busy
    redis.failure = None
    await settler.tell_again(1)
    await asyncio.sleep(0)
    assert len(heard) == 250
    assert not settler.is_busy


async def test_an_outcome_that_lands_as_a_call_ends_is_settled_too() -> None:
    redis, heard = SlowRedis(), list[str]()
    redis.answers.set()

    def hear(one: Settlement, _: str) -> None:
        heard.append(one.key)
        if one.key == "k0":
            # runs once the call has ended, and before anybody is told so
            asyncio.get_running_loop().call_soon(settler.put, settlement("k1"))

    settler = Settler(redis.settle, redis.run, InFlightMap(lambda: 0.0), hear, lambda: None)
    settler.put(settlement("k0"))
    await settler.drain()
    await asyncio.sleep(0)
    await settler.drain()
    assert heard == ["k0", "k1"]


async def test_a_bug_in_who_hears_of_it_is_no_outage_and_is_reported() -> None:
    redis, troubles, reported = SlowRedis(), list[str](), list[str]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(str(context["exception"])))
    redis.answers.set()

    def hear(one: Settlement, _: str) -> None:
        raise ValueError(one.key)

    settler = Settler(redis.settle, redis.run, InFlightMap(lambda: 0.0), hear, lambda: troubles.append("lost"))
    keys = [f"k{place}" for place in range(250)]
    for key in keys:
        settler.put(settlement(key))
    async with asyncio.timeout(10):
        await settler.drain()
    assert (troubles, settler.is_busy) == ([], False)
    assert sorted(reported) == sorted(keys)


async def test_a_bug_in_settling_is_no_outage_and_costs_one_entry() -> None:
    redis, heard, troubles = SlowRedis(), dict[str, str](), list[str]()
    settler = Settler(
        redis.settle, redis.run, InFlightMap(lambda: 0.0), lambda one, word: heard.update({one.key: word}),
        lambda: troubles.append("lost"),
    )  # fmt: skip
    redis.poison = {"k3": 9, "k0": 1}  # of a whole batch again and again, of a lone entry but once
    for place in range(50):
        settler.put(settlement(f"k{place}"))
        if place == 0:
            await asyncio.sleep(0)
    redis.answers.set()
    async with asyncio.timeout(10):
        await settler.drain()
    assert (troubles, settler.is_busy) == ([], False)
    assert heard == {f"k{place}": "accepted" for place in range(50)} | {"k3": "broken: TypeError"}

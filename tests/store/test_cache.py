"""A cache is filled once for all who wait, keeps what holds, and fails for those alone who asked in vain."""

import asyncio
from collections.abc import Callable

import pytest

from dispatcher.client import Cache


class Source:
    """Answers in capitals, once it may; names of digits are refused."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.now = 0.0

    async def ask(self, name: str) -> str:
        self.asked.append(name)
        await self.may_answer.wait()
        if name.isdigit():
            raise LookupError(name)
        return name.upper()

    def cache(self, most: int = 100, fresh_s: Callable[[str], float] = lambda _: 5.0) -> Cache[str]:
        return Cache(self.ask, fresh_s, most=most, clock=lambda: self.now)


async def settled() -> None:
    """Let all that can go on go on."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_all_who_wait_get_the_answer_to_one_question() -> None:
    source = Source()
    source.may_answer.clear()
    cache = source.cache()
    waiting = [asyncio.create_task(cache.get("a")) for _ in range(50)]
    await settled()
    source.may_answer.set()
    assert await asyncio.gather(*waiting) == ["A"] * 50
    assert await cache.get("a") == "A"
    assert source.asked == ["a"]


async def test_an_answer_holds_for_its_time_from_when_it_was_asked_for() -> None:
    source = Source()
    cache = source.cache(fresh_s=lambda answer: 1.0 if answer == "B" else 5.0)
    for now, asked in ((0.0, "ab"), (0.9, "ab"), (1.0, "abb"), (4.9, "abbb"), (5.0, "abbba")):
        source.now = now
        assert await cache.get_all(["a", "b"]) == {"a": "A", "b": "B"}
        assert "".join(source.asked) == asked


async def test_an_error_goes_to_all_who_wait_and_is_not_kept() -> None:
    source = Source()
    source.may_answer.clear()
    cache = source.cache()
    waiting = [asyncio.create_task(cache.get("5")) for _ in range(3)]
    await settled()
    source.may_answer.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in found] == [LookupError] * 3
    with pytest.raises(LookupError):
        await cache.get("5")
    assert source.asked == ["5", "5"]


async def test_who_gives_up_takes_the_answer_from_nobody() -> None:
    source = Source()
    source.may_answer.clear()
    cache = source.cache()
    first, second = (asyncio.create_task(cache.get("a")) for _ in range(2))
    await settled()
    first.cancel()
    await asyncio.wait([first])
    assert first.cancelled()
    source.may_answer.set()
    assert await second == "A"
    assert source.asked == ["a"]


async def test_an_error_that_nobody_waits_for_any_more_is_not_reported_as_lost() -> None:
    source = Source()
    source.may_answer.clear()
    cache = source.cache()
    waiting = asyncio.create_task(cache.get("5"))
    await settled()
    waiting.cancel()
    source.may_answer.set()
    await settled()  # warnings are errors here
    assert await cache.get("a") == "A"


async def test_what_was_asked_before_it_was_forgotten_answers_those_alone_who_wait() -> None:
    source = Source()
    source.may_answer.clear()
    cache = source.cache()
    before = asyncio.create_task(cache.get("a"))
    await settled()
    cache.forget()
    after = asyncio.create_task(cache.get("a"))
    await settled()
    source.may_answer.set()
    assert (await before, await after) == ("A", "A")
    assert await cache.get("a") == "A"
    assert source.asked == ["a", "a"]


async def test_the_oldest_answers_are_forgotten_first() -> None:
    source = Source()
    cache = source.cache(most=2)
    for name in "abcab":
        await cache.get(name)
    assert source.asked == ["a", "b", "c", "a", "b"]
    await cache.get("b")
    assert source.asked == ["a", "b", "c", "a", "b"]

"""The line: many callers share few round trips, and one's trouble is not another's."""

import asyncio
import gc
import hashlib
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.exceptions import DataError

from dispatcher import errors
from dispatcher.store import queue, schema
from dispatcher.store.connection import connect
from dispatcher.store.embedded import Server
from dispatcher.store.pipeline import Pipeline
from dispatcher.store.scripts import Command, Script, plain
from tests.servers import PATIENCE_S, OwnServer, old_server_path
from tests.store.cell import NUMBER, Cell, keys_of, message


@asynccontextmanager
async def connected(server: Server, timeout_s: float = PATIENCE_S) -> AsyncIterator[tuple[Cell, list[float]]]:
    """A cell over a line as producers use it, and the round trips it took."""
    took: list[float] = []
    redis = connect(server.url, schema.Cell(), timeout_s=timeout_s)
    cell = Cell(redis)
    cell.pipeline._on_round_trip = lambda took_s, _: took.append(took_s)
    try:
        yield cell, took
    finally:
        await cell.pipeline.idle()
        await redis.aclose()


async def test_calls_of_one_moment_share_round_trips(server: Server, redis: Any) -> None:
    async with connected(server) as (cell, took):
        await cell.queue("first")
        took.clear()
        await asyncio.gather(*(cell.queue(f"k{n}") for n in range(250)))
        assert len(took) == 3
        assert await redis.zcard(cell.cell.lane(NUMBER, 1)) == 251


async def test_a_lone_call_goes_out_at_once(server: Server, redis: Any) -> None:
    async with connected(server) as (cell, took):
        await cell.queue("k1")
        assert len(took) == 1


async def test_what_is_asked_while_a_pipeline_is_under_way_goes_out_together(server: Server, redis: Any) -> None:
    async with connected(server) as (cell, took):
        first = asyncio.create_task(cell.queue("k1"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.gather(first, *(cell.queue(f"k{n}") for n in range(2, 40)))
        assert len(took) == 2


async def test_calls_keep_their_order(server: Server, redis: Any) -> None:
    async with connected(server) as (cell, _):
        await asyncio.gather(*(cell.command("RPUSH", "list", n) for n in range(300)))
        assert await redis.lrange("list", 0, -1) == [str(n).encode() for n in range(300)]


async def test_a_caller_that_gives_up_breaks_nobody(server: Server, redis: Any) -> None:
    async with connected(server) as (cell, _):
        calls = [asyncio.create_task(cell.command("INCR", "count")) for _ in range(20)]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        found = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(reply) for reply in found] == [asyncio.CancelledError, int] * 10
        assert await cell.command("GET", "count") == b"20"


async def test_a_caller_that_gives_up_while_it_waits_for_its_turn_breaks_nobody(server: Server, redis: Any) -> None:
    async with connected(server) as (cell, _):
        first = asyncio.create_task(cell.command("PING"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        second, third = (asyncio.create_task(cell.command("PING")) for _ in range(2))
        await asyncio.sleep(0)
        second.cancel()
        assert [bool(reply) for reply in await asyncio.gather(first, third)] == [True, True]


async def test_a_refused_command_spoils_no_other(server: Server, redis: Any) -> None:
    await redis.set("text", "x")
    async with connected(server) as (cell, took):
        found = await asyncio.gather(
            cell.command("INCR", "a"), cell.command("LPUSH", "text", 1), cell.command("INCR", "b"),
            return_exceptions=True,
        )  # fmt: skip
        assert len(took) == 1
        assert (found[0], found[2]) == (1, 1)
        assert isinstance(found[1], errors.QueueBroken)


async def test_what_cannot_be_encoded_is_its_callers_error_alone(server: Server, redis: Any) -> None:
    async with connected(server) as (cell, _):
        found = await asyncio.gather(
            cell.command("INCR", "a"), cell.run(queue.look, "\ud800"), cell.command("SET", "flag", True),
            cell.command("INCR", "b"), return_exceptions=True,
        )  # fmt: skip
        assert (found[0], found[3]) == (1, 1)
        assert (type(found[1]), type(found[2])) == (UnicodeEncodeError, DataError)


@pytest.mark.parametrize("exc", [ValueError("bug"), asyncio.CancelledError()], ids=repr)
async def test_a_bug_in_a_pipeline_is_an_error_of_each_of_its_callers_and_of_nobody_else(
    server: Server, redis: Any, exc: BaseException
) -> None:
    async with connected(server) as (cell, _):

        def broken(*_: object, **__: object) -> None:
            raise exc

        cell.redis.set_response_callback(b"ECHO", broken)
        calls = [cell.command("INCR", "count") for _ in range(99)]
        async with asyncio.timeout(10):
            found = await asyncio.gather(
                cell.command("ECHO", "x"), *calls, cell.command("PING"), return_exceptions=True
            )
        assert [str(reply) for reply in found[:100]] == [f"a pipeline broke: {type(exc).__name__}"] * 100
        assert {type(reply) for reply in found[:100]} == {RuntimeError}
        assert all(isinstance(reply, RuntimeError) and reply.__cause__ is exc for reply in found[:100])
        assert found[100]
        assert await cell.command("INCR", "other") == 1


async def test_who_measures_and_raises_keeps_no_caller_waiting_and_is_reported(server: Server, redis: Any) -> None:
    reported: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(str(context["exception"])))

    def broken(*_: object) -> None:
        raise ValueError("metric")

    pipeline = Pipeline(redis, broken)
    increment = plain("INCR", "count", parse=int)
    async with asyncio.timeout(10):
        assert await pipeline.run(increment) == 1
        found = await pipeline.run_all([increment] * 250)
        await pipeline.idle()
    assert found == list(range(2, 252))
    del pipeline
    gc.collect()
    assert reported == ["metric"] * 4  # one a pipeline


async def test_all_who_wait_end_with_the_line(server: Server, redis: Any) -> None:
    async with connected(server) as (cell, _):
        calls = [asyncio.create_task(cell.command("INCR", "count")) for _ in range(150)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert cell.pipeline._talking is not None
        cell.pipeline._talking.cancel()
        async with asyncio.timeout(10):
            found = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(reply) for reply in found} == {asyncio.CancelledError}
        await cell.pipeline.idle()


@pytest.mark.parametrize("old", [False, True], ids=["suite", "redis-6.2"])
async def test_a_script_that_fails_is_told_from_a_server_that_is_away(own_server: OwnServer, old: bool) -> None:
    text = "return redis.call('LPUSH', KEYS[1], 1) + nothing"
    script = Script("failing", text, hashlib.sha1(text.encode()).hexdigest(), (), (), (), (), ())
    async with connected(own_server(old_server_path() if old else None)) as (cell, _):
        for name, value in (("wrong type", "x"), ("list", None)):
            if value:
                await cell.redis.set(name, value)
            with pytest.raises(errors.QueueBroken, match=r"^Redis refused: "):
                await cell.pipeline.run(Command(("EVALSHA", script.sha, 1, name), int, script))


async def test_scripts_flushed_before_a_call_are_loaded_again(server: Server, redis: Any) -> None:
    async with connected(server) as (cell, _):
        await cell.queue("k1")
        await redis.script_flush()
        await cell.queue("k2")
        assert await cell.lane() == ["k1", "k2"]


async def test_scripts_flushed_in_mid_flight_are_loaded_again_and_nothing_runs_twice(
    server: Server, redis: Any
) -> None:
    async with connected(server) as (cell, _):

        async def flush() -> None:
            for _ in range(20):
                await redis.script_flush()
                await asyncio.sleep(0)

        async def queue() -> None:
            for at in range(20):
                await asyncio.gather(*(cell.queue(f"k{at}-{n}") for n in range(10)))

        async def count() -> None:
            for _ in range(200):
                await cell.command("INCR", "count")

        await asyncio.gather(flush(), queue(), count())
        assert await redis.zcard(cell.cell.lane(NUMBER, 1)) == 200
        assert await redis.get("count") == b"200"


async def test_a_server_that_went_away_is_said_to_be_away_and_found_again(own_server: OwnServer) -> None:
    server = own_server()
    async with connected(server) as (cell, _):
        await cell.queue("k1")
        server.kill()
        found = await asyncio.gather(*(cell.run(queue.look, "k1") for _ in range(5)), return_exceptions=True)
        assert {type(reply) for reply in found} == {errors.QueueUnavailable}
        server.start()
        await cell.queue("k1")
        assert keys_of(await cell.claim_all()) == ["k1"]


async def test_a_server_restarted_between_two_calls_is_hardly_noticed(own_server: OwnServer) -> None:
    server = own_server(options={"appendonly": "yes", "appendfsync": "always"})
    async with connected(server) as (cell, _):
        await cell.queue("k1")
        server.restart()
        try:
            found = await cell.enqueue(message("k1"))
        except errors.QueueUnavailable:
            found = await cell.enqueue(message("k1"))
        assert found[0].word == "duplicate"


async def test_a_server_that_hangs_is_given_up_after_the_timeout(own_server: OwnServer) -> None:
    server = own_server()
    os.kill(server.pid, signal.SIGSTOP)
    async with connected(server, timeout_s=0.1) as (cell, _):
        with pytest.raises(errors.QueueUnavailable, match=r"^Redis is away: TimeoutError$"):
            await cell.run(queue.look, "k1")


async def test_idle_waits_for_all_that_was_asked(server: Server, redis: Any) -> None:
    async with connected(server) as (cell, _):
        calls = [asyncio.create_task(cell.command("INCR", "count")) for _ in range(150)]
        await asyncio.sleep(0)
        await cell.pipeline.idle()
        assert await redis.get("count") == b"150"
        await asyncio.gather(*calls)


async def test_idle_returns_at_once_where_nothing_was_asked(redis: Any) -> None:
    await Pipeline(redis).idle()

"""Bugs of ours: each delivery still ends in one settlement, numbers are still served, and observers hurt nobody."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, cast

import httpx
import pytest
import structlog
from prometheus_client import CollectorRegistry

from dispatcher.meta.graph import Graph
from dispatcher.observe.metrics import Metrics
from dispatcher.observe.process import clock
from dispatcher.settings import NumbersFile
from dispatcher.simulator import AnswerRule
from dispatcher.store import work
from dispatcher.worker.delivery import Delivery
from dispatcher.worker.in_flight import InFlight
from dispatcher.worker.log import WorkerLog
from dispatcher.worker.reconnect import CellConnection
from dispatcher.worker.run import App, assembled
from tests.cell import OTP, Cell, eventually

PROCESS = "process-1"
ODD_ANSWER: object = "what no judge has seen"


class Panic(BaseException):
    """What a library in Rust raises: no Exception."""


class Listener:
    """A log that notes what it hears, and raises where it is told to."""

    def __init__(self, *raises: str) -> None:
        self.heard: list[str] = []
        self._raises = raises

    def __getattr__(self, name: str) -> Callable[..., None]:
        def hear(*_: object) -> None:
            self.heard.append(name)
            if name in self._raises:
                raise RuntimeError(name)

        return hear


class RaisingTransport(httpx.AsyncBaseTransport):
    """A wire that raises what none should; the request may have left."""

    def __init__(self, exc: BaseException) -> None:
        self._exc = exc

    async def handle_async_request(self, _: httpx.Request) -> httpx.Response:
        raise self._exc


class OddGraph:
    """An endpoint whose answers nobody can judge."""

    def __init__(self) -> None:
        self.posts = 0

    async def post(self, *_: object, **__: object) -> object:
        self.posts += 1
        return ODD_ANSWER


class TakenOverGraph:
    """An endpoint where a bug shows while Redis, which went back in time, hands the message out again."""

    def __init__(self, rig: "Rig") -> None:
        self._rig = rig

    async def post(self, *_: object, **__: object) -> object:
        await self._rig.cell.redis.hset(f"{self._rig.cell.prefix}msg:one", "claim", 2)
        [each] = self._rig.connection.in_flight._in_flight.values()
        again = InFlight(replace(each.message, claim=2), each.number, each.claimed_at_us)
        assert self._rig.connection.in_flight.adopt(again)
        raise RuntimeError("bug")


@dataclass
class Rig:
    """One number's loop, to be run by hand."""

    cell: Cell
    app: App
    connection: CellConnection

    async def deliver(self, log: object, graph: object = None) -> None:
        """Serve the number until its lanes are empty, and settle all of it."""
        found, connection, numbers = cast(Graph, graph or self.app.graph), self.connection, self.app.numbers
        delivery = Delivery(PROCESS, connection, found, numbers, self.app.settings, cast(WorkerLog, log))
        await connection.pipeline.follow(work.announce(connection.cell, PROCESS, numbers.credentials()))
        await connection.pipeline.run(work.take(connection.cell, PROCESS))
        async with asyncio.timeout(10):
            with suppress(RuntimeError):  # of the log
                await delivery.serve(OTP)
            await connection.in_flight.empty()
            await connection.settler.drain()
        assert (len(connection.in_flight), connection.in_flight.of_number(OTP)) == (0, 0)

    async def told(self, key: str = "one") -> list[bytes]:
        """What events say that became of a message: one for each settlement."""
        return [event[b"type"] for event in await self.cell.events() if event[b"key"] == key.encode()]


@asynccontextmanager
async def rigged(cell: Cell, steady_clock: Callable[[], float] = clock) -> AsyncIterator[Rig]:
    times = {"claim_to_post_s": 5, "http_timeout_s": 5, "http_timeout_urgent_s": 5, "in_flight_per_number": 100}
    settings = cell.settings.model_copy(update=times)
    async with assembled(settings, NumbersFile.load(cell.numbers_file), Metrics(CollectorRegistry())) as app:
        connection = CellConnection(settings, app.log, steady_clock)
        try:
            yield Rig(cell, app, connection)
        finally:
            await connection.aclose()


@pytest.fixture
async def rig(cell: Cell) -> AsyncIterator[Rig]:
    async with rigged(cell) as opened:
        yield opened


# --- deliveries --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["claimed", "endpoint_answered", "post_ended"])
async def test_a_log_that_raises_changes_no_outcome(rig: Rig, method: str) -> None:
    await rig.cell.send("one")
    await rig.deliver(Listener(method))
    assert (await rig.cell.record("one")).state == "accepted"
    assert (await rig.told(), len(rig.cell.posts())) == ([b"accepted"], 1)


async def test_a_bug_before_the_post_puts_the_message_back_at_no_cost(rig: Rig) -> None:
    log = Listener("post_began")
    await rig.cell.send("one")
    await rig.deliver(log)
    record = await rig.cell.record("one")
    assert (record.state, record.cause, record.attempts, record.error) == ("queued", "not_before", 0, "internal error")
    assert (await rig.told(), rig.cell.posts()) == ([b"snoozed"], [])
    assert log.heard == ["claimed", "post_began", "post_broke"]


async def test_a_bug_while_a_batch_waits_for_its_turns_puts_it_back_at_no_cost(cell: Cell) -> None:
    log = Listener()

    def broken_once_claimed() -> float:
        if "claimed" in log.heard and "post_broke" not in log.heard:
            raise RuntimeError("clock")
        return clock()

    await cell.send_all(["one", "two"])
    async with rigged(cell, broken_once_claimed) as rig:
        await rig.deliver(log)
        records = [await cell.record(key) for key in ("one", "two")]
        assert [(record.state, record.attempts, record.error) for record in records] == [
            ("queued", 0, "internal error")
        ] * 2
        assert (await rig.told("one"), await rig.told("two"), cell.posts()) == ([b"snoozed"], [b"snoozed"], [])


@pytest.mark.parametrize("exc", [RuntimeError("bug"), Panic(), asyncio.CancelledError(), MemoryError()], ids=repr)
@pytest.mark.parametrize("raising", [(), ("post_broke",), ("post_ended",)], ids=str)
async def test_a_bug_once_the_post_may_have_begun_makes_the_message_uncertain(
    rig: Rig, exc: BaseException, raising: tuple[str, ...]
) -> None:
    graph = Graph(url=rig.cell.simulator.url, version="v25.0", transport=RaisingTransport(exc))
    await rig.cell.send("one")
    await rig.deliver(Listener(*raising), graph)
    record = await rig.cell.record("one")
    assert (record.state, record.attempts, record.error) == ("uncertain", 1, "internal error")
    assert await rig.told() == [b"uncertain"]


async def test_a_bug_in_a_post_whose_message_was_claimed_again_meanwhile_makes_it_uncertain(rig: Rig) -> None:
    await rig.cell.send("one")
    await rig.deliver(Listener(), TakenOverGraph(rig))
    record = await rig.cell.record("one")
    assert (record.state, record.attempts, record.error) == ("uncertain", 1, "internal error")


async def test_an_answer_that_cannot_be_judged_makes_the_message_uncertain(rig: Rig) -> None:
    log = Listener()
    await rig.cell.send("one")
    await rig.deliver(log, OddGraph())
    record = await rig.cell.record("one")
    assert (record.state, record.attempts, record.error) == ("uncertain", 1, "internal error")
    assert await rig.told() == [b"uncertain"]
    assert log.heard == ["claimed", "post_began", "post_broke", "endpoint_answered", "post_ended"]


async def test_a_bug_that_meets_every_post_closes_the_gate_before_all_that_waits_is_uncertain(rig: Rig) -> None:
    graph = OddGraph()
    await rig.cell.send_all([f"m{i}" for i in range(100)], priority="bulk")
    await rig.deliver(Listener(), graph)
    assert await rig.cell.redis.hget(f"{rig.cell.prefix}gate:{OTP}", "why") == b"uncertain"
    assert 5 <= graph.posts < 50


async def test_an_answer_that_calls_itself_transient_is_tried_again_at_the_cost_of_an_attempt(rig: Rig) -> None:
    refusal = {"error": {"code": 999_999, "message": "(#999999) Busy with this one", "is_transient": True}}
    wire = httpx.MockTransport(lambda _: httpx.Response(400, json=refusal))
    await rig.cell.send("one")
    await rig.deliver(Listener(), Graph(url="http://127.0.0.1", version="v25.0", transport=wire))
    record = await rig.cell.record("one")
    assert (record.state, record.attempts, record.error) == ("queued", 1, "999999 Busy with this one")
    assert await rig.told() == [b"retry"]


async def test_a_bug_while_a_claim_is_answered_loses_no_batch(rig: Rig) -> None:
    failed: list[object] = []

    def once_broken(reply: Any, **_: Any) -> Any:
        if isinstance(reply, list) and reply[:1] == [b"released"] and not failed:
            failed.append(reply)
            raise ValueError("bug")
        return reply

    redis: Any = rig.connection._redis
    for command in ("EVAL", b"EVALSHA"):
        redis.set_response_callback(command, once_broken)
    await rig.cell.send("one")
    await rig.deliver(Listener())
    assert (await rig.cell.record("one")).state == "accepted"
    assert (len(failed), await rig.told(), len(rig.cell.posts())) == (1, [b"accepted"], 1)


# --- the loops of a process --------------------------------------------------------------------------------------------


async def test_a_bug_in_taking_numbers_ends_no_worker(cell: Cell) -> None:
    app = await cell.work()
    await cell.send("before")
    await cell.becomes("before", "accepted")
    (process,) = await cell.redis.zrange(f"{cell.prefix}processes", 0, -1)
    await cell.redis.hset(f"{cell.prefix}serves:{process.decode()}", b"\xff", "token")
    await cell.redis.zadd(f"{cell.prefix}due", {b"\xff": 1})  # a number that is no text, which take cannot read

    async def taken() -> bool:
        return bool(await cell.redis.zscore(f"{cell.prefix}due", b"\xff") > 1)

    await eventually(taken)
    await cell.redis.zrem(f"{cell.prefix}due", b"\xff")
    await cell.send("after")
    await cell.becomes("after", "accepted")
    await cell.end(app)


async def test_a_bug_in_the_upkeep_ends_no_worker(cell: Cell) -> None:
    app = await cell.work()
    await cell.send("before")
    await cell.becomes("before", "accepted")
    good = cell.numbers_file.read_text()
    cell.numbers_file.write_text(f"[defaults]\nmessages_per_second = {'9' * 5000}\n{good}")
    (process,) = await cell.redis.zrange(f"{cell.prefix}processes", 0, -1)

    async def beaten(times: int) -> None:
        """Wait for so many steps of the upkeep."""
        beats = {await cell.redis.zscore(f"{cell.prefix}processes", process)}

        async def enough() -> bool:
            beats.add(await cell.redis.zscore(f"{cell.prefix}processes", process))
            return len(beats) > times

        await eventually(enough)

    await beaten(3)  # the second and later ones came after the file was read
    await cell.send("after")
    await cell.becomes("after", "accepted")
    await cell.end(app)


async def test_upkeep_that_meets_what_is_not_ours_still_says_which_numbers_are_served(cell: Cell) -> None:
    await cell.redis.set(f"{cell.prefix}parked", "no set")
    app = await cell.work()
    await cell.send("one")
    await cell.becomes("one", "accepted")
    await cell.redis.delete(f"{cell.prefix}parked")
    await cell.end(app)


# --- observers ---------------------------------------------------------------------------------------------------------


class BrokenMetric:
    """A metric of every kind that fails whenever something is to be written down."""

    def labels(self, *_: object) -> "BrokenMetric":
        return self

    def set_function(self, _: object) -> None:
        """Nothing is written down here."""

    def inc(self, *_: object) -> None:
        raise RuntimeError("metric")

    set = observe = inc


def broken_metrics() -> Metrics:
    metrics = Metrics(CollectorRegistry())
    for name in vars(metrics).keys() - {"registry", "observer_errors"}:
        setattr(metrics, name, BrokenMetric())
    return metrics


def broken_logs(*_: object) -> dict[str, object]:
    raise RuntimeError("log")


@asynccontextmanager
async def running(cell: Cell, metrics: Metrics) -> AsyncIterator[App]:
    async with assembled(cell.settings, NumbersFile.load(cell.numbers_file), metrics) as app:
        task = asyncio.create_task(app.run())
        yield app
        app.stop()
        await asyncio.wait_for(task, 10)


@pytest.mark.parametrize("what", ["metrics", "logs"])
async def test_observers_that_raise_stop_nothing(cell: Cell, what: str) -> None:
    metrics = broken_metrics() if what == "metrics" else Metrics(CollectorRegistry())
    if what == "logs":
        structlog.configure(processors=[broken_logs], wrapper_class=structlog.make_filtering_bound_logger(0))
    keys = [f"m{i}" for i in range(30)]
    await cell.send_all(keys, priority="bulk")
    async with running(cell, metrics):
        await cell.all_become(keys, "accepted")
        await cell.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await cell.send("after")
        await cell.becomes("after", "accepted")
    assert len(cell.posts()) == 31
    count = metrics.registry.get_sample_value
    failed = {
        name: count("dispatcher_observer_errors_total", {"method": name}) for name in ("post_ended", "redis_regained")
    }
    assert failed == {"post_ended": 31, "redis_regained": 1}


async def test_a_log_that_is_broken_where_messages_die_makes_no_number_wait_for_redis(cell: Cell) -> None:
    structlog.configure(processors=[broken_logs], wrapper_class=structlog.make_filtering_bound_logger(0))
    cell.simulator.rules.add(AnswerRule(code=132000))
    metrics = Metrics(CollectorRegistry())
    async with running(cell, metrics) as app:
        await cell.send_all([f"m{i}" for i in range(5)])
        await cell.all_become([f"m{i}" for i in range(5)], "dead")
        await app.connection.settler.drain()
        assert app.connection.reconnect.ready.is_set()
    count = metrics.registry.get_sample_value
    assert count("dispatcher_observer_errors_total", {"method": "settled"}) == 5
    assert count("dispatcher_observer_errors_total", {"method": "redis_lost"}) is None

"""A worker follows its numbers file and token files while it serves, and all workers go by one rate."""

import asyncio
import contextlib
import os
import threading
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from dispatcher.observe.metrics import Metrics
from dispatcher.policy.bucket import room
from dispatcher.settings import NumbersFile
from dispatcher.simulator import SimulatedNumber, Simulator
from dispatcher.store import numbers as store
from dispatcher.store import schema
from dispatcher.store.pipeline import Pipeline
from dispatcher.store.scripts import load, plain
from dispatcher.worker.run import App, assembled
from tests.cell import OTP, TOKEN, WABA, Cell, cell, eventually, write_numbers
from tests.proxy import Proxy
from tests.servers import OwnServer
from tests.store.cell import published
from tests.worker.conftest import SHORT

LONG_AGO = 1_700_000_000


async def rate_of(cell: Cell) -> float:
    return float(await cell.redis.hget(f"{cell.prefix}gate:{OTP}", "rate") or 0)


async def becomes_rate(cell: Cell, rate: float) -> None:
    async def is_so() -> bool:
        return await rate_of(cell) == rate

    await eventually(is_so)


def another_file(folder: Path, rate: float, written_s: int) -> Path:
    """Another release of the numbers file, written so many seconds after the epoch."""
    folder.mkdir()
    numbers_file, _ = write_numbers(folder, rate)
    os.utime(numbers_file, (written_s, written_s))
    return numbers_file


@pytest.fixture
async def fresh(cell: Cell) -> Cell:
    """The cell as if nobody had published a number yet, and its file as if it was a year old."""
    await cell.redis.delete(f"{cell.prefix}gate:{OTP}")
    os.utime(cell.numbers_file, (LONG_AGO, LONG_AGO))
    return cell


# one rate


async def has_published(cell: Cell, app: App) -> None:
    """Wait until a worker that was just started has said which numbers there are, and that it serves them."""

    async def serves() -> bool:
        return bool(await cell.redis.hexists(f"{cell.prefix}serves:{app.worker._owner}", OTP))

    await eventually(serves)


async def test_workers_with_two_releases_of_the_file_go_by_the_newer_one(fresh: Cell, tmp_path: Path) -> None:
    newer = another_file(tmp_path / "newer", 40.0, LONG_AGO + 1)
    old = await fresh.work()
    await has_published(fresh, old)
    assert await rate_of(fresh) == 80
    await has_published(fresh, await fresh.work(newer))
    assert await rate_of(fresh) == 40
    await fresh.end(old)
    await has_published(fresh, await fresh.work())  # once more, with its file as it was
    assert await rate_of(fresh) == 40


async def test_a_worker_whose_file_says_otherwise_paces_as_the_gate_says(fresh: Cell, tmp_path: Path) -> None:
    fresh.simulator.add_number(OTP, SimulatedNumber(token=TOKEN, rate=20))
    slower = another_file(tmp_path / "slower", 20.0, LONG_AGO + 1)
    first = await fresh.work(slower)
    await has_published(fresh, first)
    await fresh.end(first)
    keys = [f"m{i}" for i in range(60)]
    await fresh.send_all(keys, priority="bulk")
    await fresh.work()  # with 80 in its file
    await fresh.all_become(keys, "accepted")
    report = fresh.simulator.ledger.report()
    assert (report["requests"], report["over_limit"]) == (60, 0)
    assert report["numbers"][OTP]["largest_window"] <= 20  # type: ignore[index]
    assert await rate_of(fresh) == 20


async def test_a_changed_file_changes_the_rate_and_a_start_with_an_older_one_does_not_take_it_back(
    fresh: Cell, tmp_path: Path
) -> None:
    older = another_file(tmp_path / "older", 50.0, LONG_AGO - 1)
    app = await fresh.work()
    await has_published(fresh, app)
    fresh.numbers_file.write_text(fresh.numbers_file.read_text().replace("= 80.0", "= 30.0"))
    os.utime(fresh.numbers_file, (LONG_AGO - 5, LONG_AGO - 5))  # it has changed, whatever its time says
    await becomes_rate(fresh, 30)
    await fresh.end(app)
    await has_published(fresh, await fresh.work(older))
    assert await rate_of(fresh) == 30


async def test_a_gate_that_is_lost_is_filled_again_by_the_next_claim(fresh: Cell) -> None:
    await has_published(fresh, await fresh.work())
    await fresh.redis.delete(f"{fresh.prefix}gate:{OTP}")
    await fresh.send("k1")
    await fresh.becomes("k1", "accepted")
    assert await rate_of(fresh) == 80


# files are read beside all else


class Slow:
    """A token file that is read to its end only once there is a token, as one on a network drive may be."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: int | None = None
        path.unlink()
        os.mkfifo(path)
        # what reads it on the event loop stands still with it: then the test goes on, and fails
        self._limit = threading.Timer(10, self.end, ["EAAGlate"])
        self._limit.start()

    def is_being_read(self) -> bool:
        if self._writer is None:
            with contextlib.suppress(OSError):  # nobody reads
                self._writer = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
        return self._writer is not None

    def end(self, token: str) -> None:
        self._limit.cancel()
        finished = self._path.with_suffix(".new")
        finished.write_text(token)
        is_read = self.is_being_read()
        finished.replace(self._path)
        if is_read and self._writer is not None:
            os.write(self._writer, token.encode())
            os.close(self._writer)


async def test_a_token_file_that_cannot_be_read_for_now_holds_up_nothing(cell: Cell) -> None:
    await has_published(cell, await cell.work())
    slow = Slow(cell.token_file)

    async def is_being_read() -> bool:
        return slow.is_being_read()

    await eventually(is_being_read)
    await cell.send_all([f"m{n}" for n in range(20)])
    await cell.all_become([f"m{n}" for n in range(20)], "accepted")  # with the token as it was
    cell.simulator.add_number(OTP, SimulatedNumber(token="EAAGnew", rate=80))
    slow.end("EAAGnew")
    await cell.send("after")
    await cell.becomes("after", "accepted")
    assert cell.token_file.read_text() == "EAAGnew"


async def test_a_worker_that_is_stopped_does_not_wait_for_a_file(cell: Cell) -> None:
    app = await cell.work()
    await has_published(cell, app)
    slow = Slow(cell.token_file)

    async def is_being_read() -> bool:
        return slow.is_being_read()

    try:
        await eventually(is_being_read)
        await cell.end(app)
    finally:
        slow.end(TOKEN)


async def test_what_is_published_leaves_the_loop_to_others_after_each_part(cell: Cell) -> None:
    pipeline = Pipeline(cell.redis)
    numbers = [published(str(10**12 + n), f"n{n}", 80.0, WABA) for n in range(2000)]
    publishing = asyncio.create_task(pipeline.follow(store.publish(schema.Cell.of(cell.settings), numbers)))
    turns = 0
    while not publishing.done():
        await pipeline.run(plain("PING", parse=bool))
        turns += 1
    assert turns >= 10


async def test_the_most_posts_that_may_be_in_flight_follow_the_file(cell: Cell) -> None:
    metrics = Metrics(CollectorRegistry())

    async def is_at(most: float) -> bool:
        return metrics.registry.get_sample_value("dispatcher_in_flight_cap") == most

    async with assembled(cell.settings, NumbersFile.load(cell.numbers_file), metrics) as app:
        running = asyncio.create_task(app.run())
        await eventually(lambda: is_at(2 * room(80, most=cell.settings.in_flight_per_number).urgent))
        cell.numbers_file.write_text(cell.numbers_file.read_text().replace("= 80.0", "= 5.0"))
        await eventually(lambda: is_at(2 * room(5, most=cell.settings.in_flight_per_number).urgent))
        app.stop()
        await asyncio.wait_for(running, 10)


# nobody misses a change


async def test_a_change_whose_publishing_was_cut_off_is_told_again(
    own_server: OwnServer, simulator: Simulator, tmp_path: Path
) -> None:
    server = own_server()
    proxy = Proxy("127.0.0.1", server.port)
    async with proxy.listening(), cell(proxy.url, tmp_path, simulator, **SHORT) as opened:
        app = await opened.work()

        async def credential() -> bytes | None:
            [process] = await opened.redis.zrange(f"{opened.prefix}processes", 0, -1) or [b""]
            found: bytes | None = await opened.redis.hget(f"{opened.prefix}serves:{process.decode()}", OTP)
            return found

        old = await eventually(credential)
        proxy.swallow(load(app.connection.cell, "numbers/publish"))
        opened.numbers_file.write_text(opened.numbers_file.read_text().replace("= 80.0", "= 30.0"))
        opened.token_file.write_text("EAAGnew")

        async def is_told() -> bool:
            return await credential() not in {None, old}

        await eventually(is_told)
        assert proxy.swallowed == 1
        assert await rate_of(opened) == 30
        assert (await app.numbers.refresh()).any is False

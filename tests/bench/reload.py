"""Whether a worker stands still while its files change: ten thousand numbers are read again under traffic.

The event loop's lag is what `dispatcher_event_loop_lag_seconds` shows, measured every 5 ms instead of every 50. Of a lag,
only as much is the worker's own as it used a processor meanwhile: for the rest it waited for a core.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dispatcher import Dispatcher
from dispatcher.lab.deployment import write_numbers
from dispatcher.observe import logs, process
from dispatcher.settings import NumbersFile, Settings
from dispatcher.worker import run
from dispatcher.worker.serve import LoopLag
from tests.bench.harness import CELL, NUMBER, TOKEN, WABA, Rig, message, percentile, rig, until
from tests.bench.processes import start_child

Say = Callable[[str], None]
Row = dict[str, Any]

RATE = 80
_BUSY = 5  # numbers that send meanwhile
_PROBED_EVERY_S = 0.005
_LIMIT_S = 60.0
_WARM_S = 2.0
_OTHER_TOKEN = "bench-token-2"


@dataclass(frozen=True, slots=True)
class Plan:
    """How many numbers the file has, and for how long a worker without a change is watched."""

    numbers: int
    calm_s: float


async def measure(say: Say, plan: Plan) -> list[Row]:
    """One row for each change, calm first."""
    ids = tuple(str(int(NUMBER) + place) for place in range(plan.numbers))
    async with rig(rate=RATE, numbers=ids, is_cheap=True) as it:
        await it.register()
        lags = it.folder / "lags.json"
        worker = start_child("worker-1", it.folder, "probed", str(lags), settings=it.settings)
        it.workers.append(it.stack.enter_context(worker))
        await until(lambda: _serves(it, plan.numbers), _LIMIT_S)
        async with _traffic(it, ids[:_BUSY]):
            await asyncio.sleep(_WARM_S)
            windows = [await _window(it, "calm", asyncio.sleep(plan.calm_s))]
            windows.append(await _window(it, "rates", _change_rates(it, ids)))
            windows.append(await _window(it, "tokens", _change_tokens(it, ids)))
        it.stop()
        rows = [_row(window, json.loads(lags.read_text()), plan.numbers) for window in windows]
    for row in rows:
        say(
            f"reload, {row['numbers']} numbers, {row['change']}: {row['took_s']} s, own lag at most {row['own_max_ms']} ms"
        )
    return rows


def work(written_to: Path) -> None:
    """Be a worker process, with the settings of the environment; writes all lags down when it ends."""
    import uvloop

    settings = Settings.load()
    logs.set_up(settings.log_level, settings.log_format)
    numbers = NumbersFile.load(settings.numbers_file)
    process.freeze()
    process.allow_sockets()
    uvloop.run(_probed(settings, numbers, written_to))


async def _probed(settings: Settings, numbers: NumbersFile, written_to: Path) -> None:
    lags: list[tuple[float, float, float]] = []
    used_s = time.process_time()

    def note(lag_s: float) -> None:
        nonlocal used_s
        before, used_s = used_s, time.process_time()
        lags.append((time.monotonic(), lag_s, min(lag_s, used_s - before)))

    probe = asyncio.create_task(LoopLag(note, _PROBED_EVERY_S).measure())
    await run.run(settings, numbers)
    probe.cancel()
    written_to.write_text(json.dumps(lags))


@asynccontextmanager
async def _traffic(it: Rig, ids: tuple[str, ...]) -> AsyncIterator[None]:
    """Keep these numbers busy at their rate."""

    async def send() -> None:
        async with Dispatcher.connect(it.server.url, timeout_s=10) as producer:
            place = 0
            while True:
                begun_at = time.monotonic()
                for number in ids:
                    for _ in range(RATE // 10):
                        await producer.send(message(f"busy-{place}", place, "normal", number))
                        place += 1
                await asyncio.sleep(max(0.0, begun_at + 0.1 - time.monotonic()))

    sending = asyncio.create_task(send())
    try:
        yield
        if sending.done():
            sending.result()
    finally:
        sending.cancel()
        await asyncio.wait([sending])


async def _window(it: Rig, change: str, happening: Any) -> Row:
    meter, begun_at, posts = it.meter(), time.monotonic(), (await it.cloud.tally()).posts
    await happening
    ended_at = time.monotonic()
    posted = (await it.cloud.tally()).posts - posts
    return {"change": change, "begun_at": begun_at, "ended_at": ended_at, "posted": posted, **meter.shares()}


def _row(window: Row, lags: list[tuple[float, float, float]], numbers: int) -> Row:
    begun_at, ended_at = window.pop("begun_at"), window.pop("ended_at")
    within = [(lag_s * 1000, own_s * 1000) for at, lag_s, own_s in lags if begun_at <= at <= ended_at]
    all_ms, own_ms = ([each[which] for each in within] or [0.0] for which in (0, 1))
    return {
        "numbers": numbers,
        **window,
        "took_s": round(ended_at - begun_at, 2),
        "measured": len(within),
        "lag_p99_ms": round(percentile(all_ms, 0.99), 1),
        "lag_max_ms": round(max(all_ms), 1),
        "own_p99_ms": round(percentile(own_ms, 0.99), 1),
        "own_max_ms": round(max(own_ms), 1),
    }


async def _serves(it: Rig, count: int) -> bool:
    for worker in it.workers:
        worker.check()
    processes = await _processes(it)
    return bool(processes) and int(await it.redis.hlen(CELL.serves(processes[0]))) == count


async def _processes(it: Rig) -> list[str]:
    return [name.decode() for name in await it.redis.zrange(CELL.key("processes"), 0, -1)]


async def _change_rates(it: Rig, ids: tuple[str, ...]) -> None:
    """Give every number another rate, and wait until all gates have it."""
    names = {number: f"bench-{number}" for number in ids}
    with tempfile.TemporaryDirectory(dir=it.folder) as folder:
        write_numbers(Path(folder), names, rate=RATE - 1, waba=WABA, token=TOKEN).replace(it.folder / "numbers.toml")

    async def all_have_it() -> bool:
        async with it.redis.pipeline(transaction=False) as pipe:
            for number in ids[:: max(1, len(ids) // 100)]:
                pipe.hget(CELL.gate(number), "rate")
            return {float(rate) for rate in await pipe.execute()} == {RATE - 1}

    await until(all_have_it, _LIMIT_S, every_s=0.1)


async def _change_tokens(it: Rig, ids: tuple[str, ...]) -> None:
    """Give every number another token, which the endpoint does not check, and wait until it is known of the last."""
    [process] = await _processes(it)
    before = await it.redis.hget(CELL.serves(process), ids[-1])
    _replace(it.folder / "token", _OTHER_TOKEN)

    async def is_said() -> bool:
        return bool(await it.redis.hget(CELL.serves(process), ids[-1]) != before)

    await until(is_said, _LIMIT_S, every_s=0.1)
    await asyncio.sleep(1.0)  # all numbers are looked at once


def _replace(path: Path, text: str) -> None:
    """As a whole, the way files are replaced that somebody reads."""
    written = path.with_suffix(".new")
    written.write_text(text)
    written.replace(path)

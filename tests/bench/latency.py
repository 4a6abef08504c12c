"""How long a message takes from its producer to the wire: on an idle number, and past a campaign on the same number."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from dispatcher import Dispatcher
from tests.bench.harness import NUMBER, Rig, message, percentile, rig, until

Say = Callable[[str], None]
Row = dict[str, Any]

RATE = 80
_WARM_UP_MOST = 20
_IDLE_GAP_S = (0.02, 0.12)
_URGENT_GAP_S = (0.1, 0.2)
_LANDING_S = 10.0


async def measure_idle(say: Say, *, count: int, processes: Sequence[int]) -> list[Row]:
    """Lone messages on an idle number whose bucket always has a token for them."""
    rows = []
    for each in processes:
        async with rig(rate=RATE) as it:
            await it.register()
            await it.start(each)
            meter = it.meter()
            took_ms = await latencies_ms(it, count, "normal", _IDLE_GAP_S)
            row = {"processes": each, **summary(took_ms), **meter.shares()}
            it.stop()
        say(f"idle, {each} processes: p50 {row['p50_ms']:.1f} ms, p99 {row['p99_ms']:.1f} ms")
        rows.append(row)
    return rows


async def measure_urgent(say: Say, *, count: int, waiting: int) -> Row:
    """Urgent messages while a campaign waits on the same number."""
    async with rig(rate=RATE) as it:
        took_s = await it.enqueue(waiting)
        say(f"urgent: {waiting} bulk messages queued in {took_s:.1f} s")
        await it.start(1)
        await asyncio.sleep(2)
        meter = it.meter()
        took_ms = await latencies_ms(it, count, "urgent", _URGENT_GAP_S)
        row = {
            "bulk_waiting": await it.waiting(),
            **summary(took_ms),
            "over_limit": (await it.cloud.report())["over_limit"],
            "enqueued_per_s": round(waiting / took_s),
            **meter.shares(),
        }
        it.stop()
    say(f"urgent: p50 {row['p50_ms']:.1f} ms, p99 {row['p99_ms']:.1f} ms")
    return row


async def latencies_ms(
    it: Rig, count: int, priority: str, gap_s: tuple[float, float], number: str = NUMBER
) -> list[float]:
    """From just before `send` to the arrival of the POST, each, in ms."""
    sent_ns: dict[str, int] = {}
    warm_up = min(_WARM_UP_MOST, count // 3)
    async with Dispatcher.connect(it.server.url) as producer:
        for place in range(warm_up + count):
            await asyncio.sleep(random.uniform(*gap_s))
            key = f"lone-{place}"
            sent_ns[key] = time.monotonic_ns()
            await producer.send(message(key, place, priority, number))
    arrived_ns: dict[str, int] = {}

    async def all_arrived() -> bool:
        arrived_ns.update({one.key: one.at_ns for one in await it.cloud.arrivals()})
        return sent_ns.keys() <= arrived_ns.keys()

    await until(all_arrived, _LANDING_S, every_s=0.5)
    return [(arrived_ns[key] - sent) / 1e6 for key, sent in list(sent_ns.items())[warm_up:]]


def summary(took_ms: list[float]) -> Row:
    """Count and percentiles."""
    return {
        "count": len(took_ms),
        "p50_ms": round(percentile(took_ms, 0.5), 2),
        "p90_ms": round(percentile(took_ms, 0.9), 2),
        "p99_ms": round(percentile(took_ms, 0.99), 2),
        "max_ms": round(max(took_ms), 2),
    }

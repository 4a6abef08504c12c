"""What much of everything costs: memory of a message, the speed of a producer, a claim, and a process that idles."""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from dispatcher import Dispatcher
from dispatcher.message.message import Message, body, new_key
from tests.bench import claims
from tests.bench.claims import Case
from tests.bench.harness import CELL, CONTENT, NUMBER, UNPACED_PER_S, Rig, message, rig, until

Say = Callable[[str], None]
Row = dict[str, Any]

CASES = ((Case(1_000, 1), Case(1_000_000, 1)), (Case(200, 10), Case(200_000, 10_000)))
FEW_CASES = ((Case(100, 1), Case(1_000, 1)), (Case(200, 10), Case(2_000, 100)))
BODY_BYTES = 400
_CAMPAIGN = "november"
_SAMPLED = 500
_DRAIN_LIMIT_S = 120.0
_IDLE_RATE = 80
_WARM_S = 2.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How many messages are weighed, how often is claimed in which cases, and how long a process idles."""

    count: int
    claims: int
    cases: tuple[tuple[Case, Case], ...]
    idle_s: float


async def measure(say: Say, plan: Plan) -> Row:
    """All of it, one after the other."""
    memory = await _memory(plan.count)
    say(
        f"scale: {memory['waiting']['used_bytes']} bytes a waiting message, {memory['finished']['record_bytes']} a "
        f"finished one, {memory['enqueued_per_s']} enqueued a second"
    )
    idle = await _idle(plan.idle_s)
    say(f"scale, idle process: {idle['worker_share']:.1%} of a core, {idle['commands_per_s']:.0f} commands a second")
    return {"memory": memory, "idle": idle, "claims": await claims.measure(say, claims=plan.claims, pairs=plan.cases)}


async def _memory(count: int) -> Row:
    """Queue messages, weigh them, deliver them, and weigh what stays."""
    async with rig(rate=UNPACED_PER_S, is_cheap=True) as it:
        await it.register()
        keys = [new_key() for _ in range(count)]
        empty = await _used_bytes(it)
        started_at = time.monotonic()
        async with Dispatcher.connect(it.server.url, timeout_s=10) as producer:
            async for ticket in producer.send_many(_messages(keys)):
                if ticket.error:
                    raise ticket.error
        enqueued_s = time.monotonic() - started_at
        waiting = await _weights(it, keys, empty)
        await it.start(1)
        await until(lambda: _is_empty(it), _DRAIN_LIMIT_S, every_s=0.05)
        it.stop()
        finished = await _weights(it, keys, empty)
    return {
        "messages": count,
        "body_bytes": BODY_BYTES,
        "enqueued_per_s": round(count / enqueued_s),
        "waiting": waiting,
        "finished": finished,
    }


def _messages(keys: list[str]) -> Iterator[Row]:
    """Messages of a campaign with generated keys, whose bodies are of the size that the aim names."""
    short = len(body(Message.parse({**message("k", 1, "bulk"), "content": _padded(0)}, default_key=None)))
    content = _padded(BODY_BYTES - short)
    for place, key in enumerate(keys):
        yield {**message(key, place, "bulk"), "content": content, "campaign": _CAMPAIGN}


def _padded(characters: int) -> Row:
    template: Any = CONTENT["template"]
    (part,) = template["components"]
    more = {"type": "text", "text": "x" + "y" * characters}
    return {**CONTENT, "template": {**template, "components": [{**part, "parameters": [*part["parameters"], more]}]}}


async def _is_empty(it: Rig) -> bool:
    return not await it.waiting()


async def _used_bytes(it: Rig) -> int:
    return int((await it.redis.info("memory"))["used_memory"])


async def _weights(it: Rig, keys: list[str], empty: int) -> Row:
    """Bytes a message: all that the server uses more than when it was empty, and the parts that make it up."""
    count = len(keys)
    sampled = keys[:: max(1, count // _SAMPLED)]
    sets = [CELL.key("expiry"), CELL.key("sending"), CELL.key("uncertain"), *CELL.lanes(NUMBER)]
    return {
        "used_bytes": round((await _used_bytes(it) - empty) / count),
        "record_bytes": await _mean_bytes(it, [CELL.key(f"msg:{key}") for key in sampled]),
        "body_bytes": await _mean_bytes(it, [CELL.key(f"body:{key}") for key in sampled]),
        "sets_bytes": round(sum(await _sizes(it, sets)) / count),
        "events_bytes": round(sum(await _sizes(it, [CELL.key("events")])) / count),
    }


async def _mean_bytes(it: Rig, names: list[str]) -> int:
    return round(fmean(await _sizes(it, names)))


async def _sizes(it: Rig, names: list[str]) -> list[int]:
    async with it.redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.execute_command("MEMORY", "USAGE", name, "SAMPLES", "0")
        return [int(size or 0) for size in await pipe.execute()]


async def _idle(seconds: float) -> Row:
    """A worker process that has a number and nothing to send."""
    async with rig(rate=_IDLE_RATE) as it:
        await it.register()
        await it.start(1)
        await asyncio.sleep(min(_WARM_S, seconds))
        before, meter, began_at = await it.commands(), it.meter(), time.monotonic()
        await asyncio.sleep(seconds)
        elapsed_s, shares, after = time.monotonic() - began_at, meter.shares(), await it.commands()
        it.stop()
    calls = {name: count - before.get(name, 0) for name, count in after.items() if name != "info"}
    return {
        "seconds": round(elapsed_s, 1),
        "worker_share": shares["cores"].get("worker 1", 0.0),
        "redis_share": shares["cores"].get("redis", 0.0),
        "commands_per_s": round(sum(calls.values()) / elapsed_s, 1),
        "scripts_per_s": round(calls.get("evalsha", 0) / elapsed_s, 1),
        **shares,
    }

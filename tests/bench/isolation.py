"""Whether trouble on one number delays another that the same worker process serves."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.bench.harness import CELL, NUMBER, SECOND, Rig, rig
from tests.bench.latency import latencies_ms, summary

Say = Callable[[str], None]
Row = dict[str, Any]

RATE = 80
CALM = "calm"
TROUBLES = ("throttled", "stopped", "hanging")
# `busy` is no trouble: the first number sends its backlog as it may.
STATES = (CALM, "busy", *TROUBLES)
_GAP_S = (0.01, 0.05)
# Short, so that POSTs that hang also run out of time while it is measured, and not only pile up.
_DEADLINE_S = 4.5
_SETTINGS = {"HTTP_TIMEOUT_S": str(_DEADLINE_S), "HTTP_TIMEOUT_URGENT_S": str(_DEADLINE_S)}
_THROTTLED_CODE = 130429


async def measure(say: Say, *, count: int, backlog: int, states: tuple[str, ...] = STATES) -> list[Row]:
    """One row for each state of the first number, calm first: the second one's enqueue to POST."""
    rows: list[Row] = []
    for state in states:
        row = await _measure(state, count, backlog)
        calm = rows[0] if rows else row
        row["p99_over_calm_ms"] = round(row["p99_ms"] - calm["p99_ms"], 2)
        say(f"isolation, first number {state}: p50 {row['p50_ms']:.1f} ms, p99 {row['p99_ms']:.1f} ms")
        rows.append(row)
    return rows


async def _measure(state: str, count: int, backlog: int) -> Row:
    async with rig(rate=RATE, numbers=(NUMBER, SECOND), settings=_SETTINGS) as it:
        await it.register()
        await it.start(1)
        await _begin(it, state, backlog)
        meter = it.meter()
        took_ms = await latencies_ms(it, count, "normal", _GAP_S, SECOND)
        row = {"state": state, **summary(took_ms), **meter.shares(), "first_number": await _evidence(it, state)}
        it.stop()
    return row


async def _begin(it: Rig, state: str, backlog: int) -> None:
    """Bring the first number into its state, and give it a backlog."""
    if state == "throttled":
        await it.cloud.simulator.add_rule(number=NUMBER, code=_THROTTLED_CODE)
    elif state == "hanging":
        await it.cloud.simulator.add_rule(number=NUMBER, fault="hang_after")
    elif state == "stopped":
        await it.hold(f"number:{NUMBER}")
    if state != CALM:
        await it.enqueue(backlog)


async def _evidence(it: Rig, state: str) -> Row:
    """What became of the first number meanwhile.

    Raises:
        RuntimeError: it was not in trouble as it should be.
    """
    outcomes = Counter(one.outcome for one in await it.cloud.arrivals() if one.number == NUMBER)
    why = await it.redis.hget(CELL.gate(NUMBER), "why")
    found: Row = {
        "posts": dict(outcomes),
        "waiting": await it.waiting(),
        "uncertain": int(await it.redis.zcard(CELL.key("uncertain"))),
        "gate": (why or b"").decode(),
    }
    is_as_meant = {
        CALM: not outcomes,
        "busy": set(outcomes) == {"accepted"},
        "throttled": set(outcomes) == {"ruled"} and found["gate"] == "throttled",
        "stopped": not outcomes and found["waiting"] > 0,
        "hanging": set(outcomes) == {"hang_after"} and found["waiting"] > 0,
    }
    if not is_as_meant[state]:
        raise RuntimeError(f"the first number should be {state}, but {found}")
    return found

"""What a claim costs the server, with few and many messages waiting, and with few and many numbers.

Twice: as it was filled, and again after the server was restarted with the same data. In a server that was filled message
by message every script takes longer, though its commands hardly do, and after a restart it does not: probably its memory
then comes from holes all over the server's. What differs after the restart is the work itself.
"""

import itertools
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from dispatcher.policy.bucket import Room
from dispatcher.store.connection import connect
from dispatcher.store.embedded import Server
from dispatcher.store.pipeline import Line
from dispatcher.store.scripts import script
from dispatcher.store.work import Asking, Leases, Serving, Settlement
from tests.bench.filling import fill
from tests.bench.harness import NUMBER, UNPACED_PER_S, WABA, percentile

Say = Callable[[str], None]
Row = dict[str, Any]
Reply = TypeVar("Reply")

_CLAIMED = 8
_PROCESS = "bench"
_CREDENTIAL = "0123456789abcdef"
_LEASE_S = 8.0
_LIMIT_S = 120.0
_TURN = 20
# As many take turns however many there are: else few numbers would be claimed again and again, and many once each.
_NUMBERS_IN_TURN = 10
_SCRIPTS = ("serve", "take", "claim", "settle")


@dataclass(frozen=True, slots=True)
class Case:
    """So many messages wait, spread over so many numbers."""

    waiting: int
    numbers: int


async def measure(say: Say, *, claims: int, pairs: Sequence[tuple[Case, Case]]) -> list[Row]:
    """One row for each pair of a small and a large case, which take turns claiming, so that both have the same noise."""
    rows = []
    for few, many in pairs:
        async with _teller(few) as little, _teller(many) as much:
            for is_restarted in (False, True):
                for _ in range(claims // _TURN):
                    await little.claim(_TURN)
                    await much.claim(_TURN)
                if not is_restarted:
                    await little.restart()
                    await much.restart()
            row = {"few": little.row(), "many": much.row()}
        for figure, name in (("p50_us", "times"), ("filled_p50_us", "filled_times")):
            row[name] = round(row["many"][figure] / row["few"][figure], 2)
        rows.append(row)
        for case in (row["few"], row["many"]):
            say(
                f"scale, claim of {_CLAIMED}, {case['waiting']} waiting on {case['numbers']} numbers: "
                f"p50 {case['p50_us']:.0f} µs, before the restart {case['filled_p50_us']:.0f} µs"
            )
    return rows


@asynccontextmanager
async def _teller(case: Case) -> AsyncIterator["_Teller"]:
    """Run a server that is filled. Scripts are timed before anything is written down: the append-only file may rest."""
    with Server() as server:
        teller = _Teller(server, case)
        try:
            await teller.fill()
            yield teller
        finally:
            await teller.aclose()


class _Teller:
    """Claims of each number in turn; what was claimed goes to the end of its lane, so that always as many wait."""

    def __init__(self, server: Server, case: Case) -> None:
        self._server = server
        self._case = case
        self._filled_s = 0.0
        self._ids = [str(int(NUMBER) + i) for i in range(case.numbers)]
        self._sequences = itertools.count(1)
        self._owned: deque[str] = deque()
        self._filled_us: list[float] = []
        self._claims_us: list[float] = []
        self._takes_us: list[float] = []
        self._connect()

    def _connect(self) -> None:
        self._redis = connect(self._server.url, timeout_s=_LIMIT_S)
        self._serving = Serving(Line(self._redis), Keys(), Leases(_LEASE_S, (60.0, 60.0, 60.0)))

    async def _load_scripts(self) -> None:
        for name in _SCRIPTS:
            await self._redis.script_load(script(name).text)

    async def fill(self) -> None:
        """Put the messages there."""
        began_at = time.monotonic()
        await fill(self._redis, self._case.waiting, self._case.numbers)
        self._filled_s = time.monotonic() - began_at
        await self._load_scripts()

    async def restart(self) -> None:
        """Begin anew, with a server that has just loaded its data."""
        await self._redis.save()
        await self._redis.aclose()
        self._server.restart()
        self._connect()
        await self._load_scripts()
        self._filled_us, self._claims_us, self._takes_us = self._claims_us, [], []

    async def aclose(self) -> None:
        """Close the connection."""
        await self._redis.aclose()

    async def claim(self, times: int) -> None:
        """Claim so many times, and take whatever is due when it begins."""
        await self._serving.serve(_PROCESS, dict.fromkeys(self._ids, _CREDENTIAL))
        (_, taken), took_us = await self._timed(self._serving.take(_PROCESS))
        self._takes_us.append(took_us)
        more = [number for number in taken if number not in self._owned]
        self._owned.extend(more[: _NUMBERS_IN_TURN - len(self._owned)])
        for _ in range(times):
            number = self._owned.popleft()
            if await self._claim_of(number):
                self._owned.append(number)

    async def _claim_of(self, number: str) -> bool:
        """Claim and put back; whether the number is still ours."""
        room = Room(_CLAIMED, _CLAIMED, _CLAIMED)
        asking = Asking(number, _PROCESS, next(self._sequences), UNPACED_PER_S, room, WABA, _CREDENTIAL)
        batch, took_us = await self._timed(self._serving.claim(asking))
        if batch.state == "lost":
            return False
        if len(batch.messages) != _CLAIMED:
            raise RuntimeError(f"a claim brought {len(batch.messages)} messages: {batch.state}")
        self._claims_us.append(took_us)
        back = [Settlement(one, number, batch.claimed_at_us, "snooze", 0) for one in batch.messages]
        await self._serving.settle(back)
        return batch.state == "kept"

    async def _timed(self, call: Awaitable[Reply]) -> tuple[Reply, float]:
        """What a call of one script returns, and how long the server says that the script ran, in µs."""
        before = await self._scripts_us()
        reply = await call
        return reply, await self._scripts_us() - before

    async def _scripts_us(self) -> float:
        return float((await self._redis.info("commandstats"))["cmdstat_evalsha"]["usec"])

    def row(self) -> Row:
        """How long claims and takes took."""
        return {
            "waiting": self._case.waiting,
            "numbers": self._case.numbers,
            "claimed_each": _CLAIMED,
            "filled_s": round(self._filled_s, 1),
            "claims": len(self._claims_us),
            "p50_us": percentile(self._claims_us, 0.5),
            "p99_us": percentile(self._claims_us, 0.99),
            "filled_p50_us": percentile(self._filled_us, 0.5),
            "take_p50_us": percentile(self._takes_us, 0.5),
        }

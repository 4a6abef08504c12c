"""What a claim costs the server, with few and many messages waiting, and with few and many numbers.

Twice: as it was filled, and again after the server was restarted with the same data. In a server that was filled message
by message every script takes longer, though its commands hardly do, and after a restart it does not: probably its memory
then comes from holes all over the server's. What differs after the restart is the work itself.
"""

import itertools
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import SecretStr

from dispatcher.policy.bucket import Room
from dispatcher.settings import Number
from dispatcher.store import work
from dispatcher.store.connection import connect
from dispatcher.store.embedded import Server
from dispatcher.store.pipeline import Pipeline
from dispatcher.store.schema import Cell
from dispatcher.store.scripts import Command, load
from dispatcher.store.work import Settlement
from tests.bench.filling import fill
from tests.bench.harness import NUMBER, TOKEN, UNPACED_PER_S, WABA, percentile

Say = Callable[[str], None]
Row = dict[str, Any]
Reply = TypeVar("Reply")

_CLAIMED = 8
_PROCESS = "bench"
# Leases that do not end while it is measured; a claim of the few is followed by many others.
_CELL = Cell(number_lease_s=8.0, message_lease_s=(60.0, 60.0, 60.0))
_LIMIT_S = 120.0
_TURN = 20
# As many take turns however many there are: else few numbers would be claimed again and again, and many once each.
_NUMBERS_IN_TURN = 10
_SCRIPTS = ("work/announce", "work/take", "work/claim", "work/settle")


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
        token = SecretStr(TOKEN)
        ids = [str(int(NUMBER) + i) for i in range(case.numbers)]
        self._numbers = {each: Number(each, f"bench-{each}", UNPACED_PER_S, WABA, token) for each in ids}
        self._sequences = itertools.count(1)
        self._owned: deque[str] = deque()
        self._filled_us: list[float] = []
        self._claims_us: list[float] = []
        self._takes_us: list[float] = []
        self._connect()

    def _connect(self) -> None:
        self._redis: Any = connect(self._server.url, _CELL, timeout_s=_LIMIT_S)
        self._pipeline = Pipeline(self._redis)

    async def _load_scripts(self) -> None:
        for name in _SCRIPTS:
            await self._redis.script_load(load(_CELL, name).text)

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
        tokens = {each.id: each.token_fingerprint for each in self._numbers.values()}
        await self._pipeline.follow(work.announce(_CELL, _PROCESS, tokens))
        (_, taken), took_us = await self._timed(work.take(_CELL, _PROCESS))
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
        claim = work.claim(_CELL, self._numbers[number], _PROCESS, next(self._sequences), room)
        batch, took_us = await self._timed(claim)
        if batch.state == "lost":
            return False
        if len(batch.messages) != _CLAIMED:
            raise RuntimeError(f"a claim brought {len(batch.messages)} messages: {batch.state}")
        self._claims_us.append(took_us)
        back = [
            Settlement(
                one.key, one.claim, "snooze", number, one.priority, one.recipient, one.fingerprint,
                batch.claimed_at_us, 0,
            )
            for one in batch.messages
        ]  # fmt: skip
        await self._pipeline.run(work.settle(_CELL, back))
        return bool(batch.state == "kept")

    async def _timed(self, command: Command[Reply]) -> tuple[Reply, float]:
        """What a call of one script returns, and how long the server says that the script ran, in µs."""
        before = await self._scripts_us()
        reply = await self._pipeline.run(command)
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

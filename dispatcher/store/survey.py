"""How the numbers of a cell stand, for the exporter: all of them in few calls, the worst in detail.

The work grows with the numbers, never with their messages: see `lua/survey.lua`.
"""

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, NamedTuple

from dispatcher.store.schema import Keys
from dispatcher.store.pipeline import Argument, Line
from dispatcher.store.overview import Around, gate_of
from dispatcher.store.numbers import Registered
from dispatcher.store.scripts import script
from dispatcher.store.work import US

NUMBERS_A_CALL: Final = 100
"""So that a call holds Redis up for one to two milliseconds."""
ALL_SHOWN_MAX: Final = 500
WORST_SHOWN: Final = 50
_LANES: Final = ("urgent", "normal", "bulk")

Three = tuple[float, float, float]


class _Row(NamedTuple):
    """A number as the script sees it; `waiting` and `oldest_us` by lane."""

    number: Registered
    waiting: tuple[int, int, int]
    oldest_us: tuple[int, int, int]
    streak: int
    till_us: int
    rate_per_s: float
    refill_per_s: float
    why: str
    credential: str
    is_served: bool

    @property
    def badness(self) -> tuple[int, int]:
        return max(self.oldest_us), sum(self.waiting)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a number stands; figures by lane, urgent first.

    `state` is `open`, `blocked`, `half_open` or `stopped`. `rate_per_s` is what its gate gives it. `effective_per_s` is
    what may leave it now: nothing while it is blocked, stopped or served by nobody, else the rate at which its bucket
    fills. `wait_s` is how long a message that came now would wait, as far as that can be known; infinite until somebody
    does something.
    """

    number: Registered
    rate_per_s: float
    waiting: tuple[int, int, int]
    oldest_s: Three
    wait_s: Three
    state: str
    why: str
    effective_per_s: float


@dataclass(frozen=True, slots=True)
class Standings:
    """All numbers in sums, by lane and by state of their gates; `shown` are all, or of more than 500 the worst 50.

    Worst is whose oldest runnable message is oldest, then where most wait.
    """

    count: int
    waiting: tuple[int, int, int]
    oldest_s: Three
    states: Counter[str]
    shown: tuple[Standing, ...]


class Survey:
    """Looks at numbers; raises `errors.QueueUnavailable`."""

    def __init__(self, line: Line, keys: Keys) -> None:
        self._line = line
        self._keys = keys

    async def numbers(self, registered: Sequence[Registered], around: Around) -> Standings:
        """Look at all these numbers, one call after the other, so that others are served in between."""
        rows: list[_Row] = []
        now_us = around.now_us
        for at in range(0, len(registered), NUMBERS_A_CALL):
            part = registered[at : at + NUMBERS_A_CALL]
            args: list[Argument] = [self._keys.prefix, len(around.processes), *around.processes]
            args += [number.id for number in part]
            now, lines = await self._line.call(script("survey"), (self._keys("due"),), args)
            now_us = int(now)
            texts = lines.decode(errors="replace").split("\n")
            rows += [_row(number, text) for number, text in zip(part, texts, strict=True)]
        return _sum(rows, frozenset(stop.scope for stop in around.stops), now_us)


def _row(number: Registered, text: str) -> _Row:
    fields = text.split("\t")
    urgent, normal, bulk, *oldest, streak, till = map(int, fields[:8])
    oldest_us = (oldest[0], oldest[1], oldest[2])
    rate_per_s, refill_per_s = map(float, fields[8:10])
    why, credential, served = fields[10:]
    waiting = (urgent, normal, bulk)
    return _Row(number, waiting, oldest_us, streak, till, rate_per_s, refill_per_s, why, credential, served == "1")


def _sum(rows: Sequence[_Row], scopes: frozenset[str], now_us: int) -> Standings:
    shown = rows if len(rows) <= ALL_SHOWN_MAX else heapq.nlargest(WORST_SHOWN, rows, key=lambda row: row.badness)
    return Standings(
        count=len(rows),
        waiting=_three(sum(column) for column in zip(*(row.waiting for row in rows), strict=True)),
        oldest_s=_seconds(_three(max(column) for column in zip(*(row.oldest_us for row in rows), strict=True))),
        states=Counter(_state(row, scopes, now_us)[0] for row in rows),
        shown=tuple(_standing(row, scopes, now_us) for row in shown),
    )


def _three(figures: Iterable[int]) -> tuple[int, int, int]:
    found = [*figures, 0, 0, 0]  # a cell without numbers has none
    return found[0], found[1], found[2]


def _seconds(figures_us: tuple[int, int, int]) -> Three:
    urgent, normal, bulk = figures_us
    return urgent / US, normal / US, bulk / US


def _standing(row: _Row, scopes: frozenset[str], now_us: int) -> Standing:
    state, why = _state(row, scopes, now_us)
    refill = row.refill_per_s if row.is_served and state != "stopped" else 0.0
    blocked_s = (row.till_us - now_us) / US if state == "blocked" else 0.0
    ahead = accumulate(row.waiting)
    urgent, normal, bulk = (
        _wait_s(waiting, 0.0 if f"lane:{row.number.id}:{lane}" in scopes else refill, blocked_s)
        for lane, waiting in zip(_LANES, ahead, strict=True)
    )
    return Standing(
        number=row.number,
        rate_per_s=row.rate_per_s,
        waiting=row.waiting,
        oldest_s=_seconds(row.oldest_us),
        wait_s=(urgent, normal, bulk),
        state=state,
        why=why,
        effective_per_s=0.0 if state == "blocked" else refill,
    )


def _wait_s(waiting: int, refill: float, blocked_s: float) -> float:
    """Say how long the last of so many waits."""
    if not waiting:
        return blocked_s
    return blocked_s + waiting / refill if refill else math.inf


def _state(row: _Row, scopes: frozenset[str], now_us: int) -> tuple[str, str]:
    """Return state and why, of a stop the kind of its scope; a stop outlasts a block, so it goes first."""
    if scopes:
        number = row.number
        wide = ("all", f"number:{number.id}", f"waba:{number.waba_id}", f"credential:{row.credential}")
        for scope in wide:
            if scope in scopes:
                return "stopped", scope.partition(":")[0]
    gate = gate_of(row.streak, row.till_us, row.why, now_us)
    return gate.state, gate.why

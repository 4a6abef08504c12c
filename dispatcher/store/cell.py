"""One look at a cell: how everything stands. Commands, exporter, console and tests read it here and nowhere else.

The work grows with the numbers of the cell, never with its messages: no lane is ever looked through. A part that is not
of the kind it should be counts as not there, so that the rest can be seen.
"""

import heapq
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from typing import Any, Final, NamedTuple

from dispatcher.policy.scope import Scope
from dispatcher.store import stops
from dispatcher.store.health import server_time
from dispatcher.store.numbers import Registered, all_
from dispatcher.store.queue import moment, read_object
from dispatcher.store.schema import LANES, PROCESS_ALIVE_S, US, Cell
from dispatcher.store.scripts import Command, Steps, call, plain
from dispatcher.store.stops import Stop

NUMBERS_A_CALL: Final = 100
"""So that a call holds Redis up for one to two milliseconds."""
_LISTED_MOST: Final = 1000

ByLane = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Gate:
    """What a number may do: `open`, `blocked` until then and why, or `half_open` (the next message is a trial)."""

    state: str
    why: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Around:
    """What concerns all numbers: the time, processes that are alive, and the stops that bind."""

    now_us: int
    processes: tuple[str, ...]
    doors: int
    stops: tuple[Stop, ...]

    @property
    def at(self) -> datetime | None:
        """The time by Redis's clock."""
        return moment(self.now_us)


class Standing(NamedTuple):
    """How a number stands. Figures are by lane, urgent first; those parked are not among `waiting`.

    `till_us` is when its gate opens again, after `streak` closings in a row; `owner` is who serves it now, `able` who
    could.
    """

    number: Registered
    rate_per_s: float
    refill_per_s: float
    now_us: int
    waiting: tuple[int, int, int]
    oldest_s: ByLane
    streak: int
    till_us: int
    gate_why: str
    owner: str
    able: tuple[str, ...]
    stops: tuple[Scope, ...]

    @property
    def gate(self) -> Gate:
        """The gate as the claim reads it: closed while closings in a row stand and their time has not come."""
        if self.streak <= 0:
            return Gate("open")
        is_closed = self.till_us > self.now_us
        return Gate("blocked", self.gate_why, moment(self.till_us)) if is_closed else Gate("half_open", self.gate_why)

    @property
    def stop(self) -> Scope | None:
        """The stop that holds the whole number, if one does."""
        return next((scope for scope in self.stops if scope.kind != "lane"), None)

    @property
    def state(self) -> str:
        """`open`, `blocked`, `half_open` or `stopped`; a stop outlasts a block, so it goes first."""
        return "stopped" if self.stop else self.gate.state

    @property
    def why(self) -> str:
        """What closed the gate, or the kind of the stop."""
        return self.stop.kind if self.stop else self.gate.why

    @property
    def effective_per_s(self) -> float:
        """Messages a second that may leave now: nothing while it is blocked, stopped or served by nobody."""
        return 0.0 if self.state == "blocked" else self._refill()

    @property
    def wait_s(self) -> ByLane:
        """How long a message that came now would wait, if that is known; infinite until somebody does something."""
        refill = self._refill()
        blocked_s = (self.till_us - self.now_us) / US if self.state == "blocked" else 0.0
        lanes = zip(LANES, accumulate(self.waiting), strict=True)
        held = {lane for lane in LANES if any(scope.covers_lane(self.number.id, lane) for scope in self.stops)}
        urgent, normal, bulk = (_wait_s(ahead, 0.0 if lane in held else refill, blocked_s) for lane, ahead in lanes)
        return urgent, normal, bulk

    def _refill(self) -> float:
        return self.refill_per_s if self.able and not self.stop else 0.0


@dataclass(frozen=True, slots=True)
class Counts:
    """Messages that are in no lane, jobs of arq producers that became no message (yet), webhooks not worked off."""

    sending: int
    uncertain: int
    parked: Mapping[str, int]
    dead: int
    intake: int
    refused: int
    webhooks: int
    unreadable: int


@dataclass(frozen=True, slots=True)
class Overview:
    """How the cell stood at a time of Redis's clock; `happened` counts what its scripts did, by name and labels."""

    cell: str
    around: Around
    counts: Counts
    numbers: tuple[Standing, ...]
    happened: Mapping[tuple[str, ...], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sending:
    """A message that is `sending`: of which number, at which claim."""

    key: str
    number: str
    claim: int


@dataclass(frozen=True, slots=True)
class RefusedJob:
    """A job of an arq producer that became no message; what it held is not repeated here."""

    job: str
    reason: str
    at: str
    size: int


@dataclass(frozen=True, slots=True)
class UnreadableUpdate:
    """A part of a webhook that could not be read; `raw` is what came, cut after 20,000 characters."""

    at: str
    reason: str
    raw: str


class _NumberRow(NamedTuple):
    urgent: int
    normal: int
    bulk: int
    urgent_us: bytes
    normal_us: bytes
    bulk_us: bytes
    streak: bytes
    till_us: bytes
    why: bytes
    rate: bytes
    refill: bytes
    credential: bytes
    owner: bytes
    able: bytes


class _Rows(NamedTuple):
    now_us: bytes
    numbers: list[list[Any]]


class _StandingEntry(NamedTuple):
    number: str


def overview(cell: Cell) -> Steps[Overview]:
    """Look at everything once."""
    seen = yield from around(cell)
    counted = yield from counts(cell)
    rows = yield from standings(cell, (yield all_(cell)), seen)
    return Overview(cell.name, seen, counted, rows, (yield happened(cell)))


def around(cell: Cell) -> Steps[Around]:
    """Look at what concerns all numbers."""
    now_us = yield server_time()
    alive_since = now_us - PROCESS_ALIVE_S * US
    processes, [doors], [rows] = yield [
        plain("ZRANGEBYSCORE", cell.key("processes"), alive_since, "+inf", parse=_texts, default=[]),
        plain("ZCOUNT", cell.key("doors"), alive_since, "+inf", parse=lambda count: [count], default=[0]),
        plain("HGETALL", cell.key("stops"), parse=lambda reply: [reply], default=[[]]),
    ]
    now = moment(now_us)
    binding = tuple(stop for stop in stops.read(rows) if stop.until is None or now is None or stop.until > now)
    return Around(now_us, tuple(sorted(processes)), doors, binding)


def standings(cell: Cell, numbers: Sequence[Registered], around: Around) -> Steps[tuple[Standing, ...]]:
    """Look at these numbers, a call after the other, so that others are served in between."""
    scopes = [Scope.of(stop.scope) for stop in around.stops]
    found: list[Standing] = []
    for at in range(0, len(numbers), NUMBERS_A_CALL):
        part = numbers[at : at + NUMBERS_A_CALL]
        now_us, rows = yield _rows(cell, part, around.processes)
        found += [
            _standing(number, row, int(now_us), around.processes, scopes)
            for number, row in zip(part, rows, strict=True)
        ]
    return tuple(found)


def worst(found: Sequence[Standing], most: int) -> Sequence[Standing]:
    """Return those whose oldest message that could go is oldest, then where most wait."""
    return heapq.nlargest(most, found, key=lambda each: (max(each.oldest_s), sum(each.waiting)))


def counts(cell: Cell) -> Steps[Counts]:
    """Count the messages that are in no lane, and what waits outside."""
    key = cell.key
    scopes = sorted((yield plain("SMEMBERS", key("parked"), parse=_texts, default=[])))
    names = ("sending", "uncertain", "dead")
    found = yield [
        *(_size("ZCARD", name) for name in (*(key(name) for name in names), cell.intake)),
        *(_size("LLEN", key(name)) for name in ("refused", "unreadable")),
        _size("XLEN", key("webhooks")),
        *(_size("ZCARD", key(f"parked:{scope}")) for scope in scopes),
    ]
    sending, uncertain, dead, intake, refused, unreadable, webhooks, *parked = found
    by_scope = dict(zip(scopes, parked, strict=True))
    return Counts(sending, uncertain, by_scope, dead, intake, refused, webhooks, unreadable)


def sending(cell: Cell) -> Steps[list[Sending]]:
    """Return every message that is under way."""
    keys = yield plain("ZRANGE", cell.key("sending"), 0, -1, parse=_texts)
    records = yield [
        plain("HMGET", cell.key(f"msg:{key}"), "number", "claim", parse=list, default=[None, None]) for key in keys
    ]
    found = zip(keys, records, strict=True)  # a record that is packed was settled in this moment
    return [Sending(key, _text(number), int(claim)) for key, (number, claim) in found if number and claim]


def happened(cell: Cell) -> Command[Mapping[tuple[str, ...], int]]:
    """Return how often what happened, by name and labels, since the cell began."""

    def parse(reply: list[bytes]) -> dict[tuple[str, ...], int]:
        pairs = zip(_texts(reply[::2]), reply[1::2], strict=True)
        return {tuple(name.split("|")): int(count) for name, count in pairs if count.isdigit()}

    return plain("HGETALL", cell.key("counts"), parse=parse, default={})


def refused(cell: Cell) -> Command[list[RefusedJob]]:
    """List the refused jobs, the latest first."""
    return plain("LRANGE", cell.key("refused"), 0, _LISTED_MOST - 1, parse=lambda rows: [_refused(row) for row in rows])


def unreadable(cell: Cell) -> Command[list[UnreadableUpdate]]:
    """List what could not be read of webhooks, the latest first."""

    def parse(rows: list[bytes]) -> list[UnreadableUpdate]:
        found = [read_object(row) for row in rows]
        return [UnreadableUpdate(*(str(row.get(name, "")) for name in ("at", "reason", "raw"))) for row in found]

    return plain("LRANGE", cell.key("unreadable"), 0, -1, parse=parse)


def _rows(cell: Cell, part: Sequence[Registered], processes: Sequence[str]) -> Command[_Rows]:
    return call(
        cell,
        "numbers/standings",
        _Rows._make,
        args={"processes": json.dumps(processes)},
        entries=(_StandingEntry(number.id) for number in part),
        reads=(_Rows, _NumberRow),
    )


def _standing(
    number: Registered, given: Sequence[Any], now_us: int, processes: Sequence[str], scopes: Sequence[Scope]
) -> Standing:
    row = _NumberRow._make(given)
    credential = _text(row.credential)
    return Standing(
        number,
        rate_per_s=float(row.rate),
        refill_per_s=float(row.refill),
        now_us=now_us,
        waiting=(row.urgent, row.normal, row.bulk),
        oldest_s=(int(row.urgent_us) / US, int(row.normal_us) / US, int(row.bulk_us) / US),
        streak=int(row.streak),
        till_us=int(row.till_us),
        gate_why=_text(row.why),
        owner=_text(row.owner),
        able=tuple(processes[int(place) - 1] for place in row.able.split()),
        stops=tuple(
            scope for scope in scopes if scope.concerns(number.id, waba_id=number.waba_id, credential=credential)
        ),
    )


def _size(command: str, key: str) -> Command[int]:
    return plain(command, key, parse=int, default=0)


def _wait_s(ahead: int, refill: float, blocked_s: float) -> float:
    """Say how long the last of so many waits."""
    if not ahead:
        return blocked_s
    return blocked_s + ahead / refill if refill else math.inf


def _refused(row: bytes) -> RefusedJob:
    entry = read_object(row)
    size = entry.get("size")
    return RefusedJob(
        job=str(entry.get("job", "")),
        reason=str(entry.get("reason", "unreadable")),
        at=str(entry.get("at", "")),
        size=size if isinstance(size, int) else 0,
    )


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def _texts(values: Sequence[bytes]) -> list[str]:
    return [_text(value) for value in values]

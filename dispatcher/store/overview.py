"""How a cell stands, for people: what waits where, what holds it back and who serves it. Reads only, counts only.

The work grows with the numbers of the cell, never with its messages: no lane is ever looked through.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dispatcher import errors
from dispatcher.store.schema import Keys
from dispatcher.store.pipeline import Argument, Line
from dispatcher.store.record import moment, read_number, read_object
from dispatcher.store.numbers import Registered, Registry
from dispatcher.store.work import PROCESS_ALIVE_S, US
from dispatcher.store.stops import Stop, Stops

_REFUSED_MAX = 1000
_NUMBERS_A_CALL = 500
_NUMBERS_AT_ONCE = 40


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many messages wait in each lane of a number, those for later included and the parked ones not."""

    urgent: int
    normal: int
    bulk: int


@dataclass(frozen=True, slots=True)
class Gate:
    """What a number may do: `open`, `blocked` until then and why, or `half_open` (the next message is a trial)."""

    state: str
    why: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class NumberOverview:
    """How one number stands: `workers` could serve it, `served_by` does so now; `stops` are the scopes that hold it."""

    id: str
    name: str
    rate_per_s: float
    waba_id: str
    waiting: Waiting
    gate: Gate
    stops: tuple[str, ...]
    workers: tuple[str, ...]
    served_by: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Messages that are in no lane, jobs of arq producers that became no message (yet), webhooks not worked off."""

    sending: int
    uncertain: int
    parked: int
    dead: int
    intake: int
    refused: int
    webhooks: int = 0
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Overview:
    """How the cell stood at a time of Redis's clock."""

    cell: str
    at: datetime
    processes: tuple[str, ...]
    counts: Counts
    stops: tuple[str, ...]
    numbers: tuple[NumberOverview, ...]


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


@dataclass(frozen=True, slots=True)
class Around:
    """What concerns all numbers: the time, who is alive, and which stops bind."""

    now_us: int
    processes: tuple[str, ...]
    stops: tuple[Stop, ...]


class Overlook:
    """Reads how a cell stands; all raise `errors.QueueUnavailable`."""

    def __init__(self, line: Line, keys: Keys) -> None:
        self._line = line
        self._keys = keys
        self._registry = Registry(line, keys)
        self._stops = Stops(line, keys)

    async def now(self) -> datetime:
        """Return the time by Redis's clock, which is the one that decides."""
        return datetime.fromtimestamp(await self._now_us() / US, UTC)

    async def cell(self) -> Overview:
        """Look at everything once."""
        around, registered = await asyncio.gather(self.around(), self._registry.all())
        counts, numbers = await asyncio.gather(self.counts(), self._numbers(registered, around))
        return Overview(
            cell=self._keys.cell,
            at=datetime.fromtimestamp(around.now_us / US, UTC),
            processes=around.processes,
            counts=counts,
            stops=tuple(stop.scope for stop in around.stops),
            numbers=numbers,
        )

    async def numbers(self, registered: Sequence[Registered]) -> tuple[NumberOverview, ...]:
        """Look at these numbers only."""
        return await self._numbers(registered, await self.around())

    async def refused(self) -> list[RefusedJob]:
        """List the refused jobs, the latest first."""
        rows = await self._ask([], "LRANGE", self._keys("refused"), 0, _REFUSED_MAX - 1)
        return [_refused(row) for row in rows]

    async def unreadable(self) -> list[UnreadableUpdate]:
        """List what could not be read of webhooks, the latest first."""
        rows = await self._ask([], "LRANGE", self._keys("unreadable"), 0, -1)
        found = [read_object(row) for row in rows]
        return [UnreadableUpdate(*(str(row.get(name, "")) for name in ("at", "reason", "raw"))) for row in found]

    async def _numbers(self, registered: Sequence[Registered], around: Around) -> tuple[NumberOverview, ...]:
        able = await self._able([number.id for number in registered], around.processes)
        found: list[NumberOverview] = []
        # in parts, so that a Redis that goes away is noticed soon
        for at in range(0, len(registered), _NUMBERS_AT_ONCE):
            part = registered[at : at + _NUMBERS_AT_ONCE]
            found += await asyncio.gather(*(self._number(number, around, able[number.id]) for number in part))
        return tuple(found)

    async def _number(self, number: Registered, around: Around, workers: list[str]) -> NumberOverview:
        gate_key = self._keys.gate(number.id)
        urgent, normal, bulk, gate, due = await asyncio.gather(
            *(self._ask(0, "ZCARD", lane) for lane in self._keys.lanes(number.id)),
            self._ask([None] * 7, "HMGET", gate_key, "owner", "streak", "until", "probe", "why", "token", "rate"),
            self._ask(None, "ZSCORE", self._keys("due"), number.id),
        )
        owner, streak, until, probe, why, credential, rate = (_text(value) for value in gate)
        is_leased = owner and due is not None and float(due) > around.now_us
        return NumberOverview(
            id=number.id,
            name=number.name,
            rate_per_s=max(0.0, read_number(rate) or 0.0),
            waba_id=number.waba_id,
            waiting=Waiting(urgent, normal, bulk),
            gate=gate_of(_whole(streak), max(_whole(until), _whole(probe)), why, around.now_us),
            stops=tuple(stop.scope for stop in around.stops if _concerns(stop.scope, number, credential)),
            workers=tuple(workers),
            served_by=owner if is_leased else "",
        )

    async def _able(self, numbers: Sequence[str], processes: Iterable[str]) -> dict[str, list[str]]:
        """Which processes have a token for which of the numbers."""
        able: dict[str, list[str]] = {number: [] for number in numbers}
        for process in processes:
            for at in range(0, len(numbers), _NUMBERS_A_CALL):
                part = numbers[at : at + _NUMBERS_A_CALL]
                found = await self._ask([None] * len(part), "HMGET", self._keys.serves(process), *part)
                for number, credential in zip(part, found, strict=True):
                    if credential is not None:
                        able[number].append(process)
        return able

    async def around(self, stops: Sequence[Stop] | None = None) -> Around:
        """Look at what concerns all numbers; with stops that were read already, if given."""
        now_us = await self._now_us()
        if stops is None:
            stops = await self._stops.all()
        alive_since = now_us - PROCESS_ALIVE_S * US
        processes = await self._ask([], "ZRANGEBYSCORE", self._keys("processes"), alive_since, "+inf")
        now = datetime.fromtimestamp(now_us / US, UTC)
        binding = tuple(stop for stop in stops if stop.until is None or stop.until > now)
        return Around(now_us, tuple(sorted(_text(process) for process in processes)), binding)

    async def counts(self) -> Counts:
        """Count the messages that are in no lane, and what waits outside."""
        keys = self._keys
        sending, uncertain, dead, intake, refused, unreadable, webhooks, scopes = await asyncio.gather(
            *(self._ask(0, "ZCARD", key) for key in (keys("sending"), keys("uncertain"), keys("dead"), keys.intake)),
            *(self._ask(0, "LLEN", keys(name)) for name in ("refused", "unreadable")),
            self._ask(0, "XLEN", keys("webhooks")),
            self._ask([], "SMEMBERS", keys("parked")),
        )
        parked = await asyncio.gather(*(self._ask(0, "ZCARD", keys("parked:" + _text(scope))) for scope in scopes))
        return Counts(sending, uncertain, sum(parked), dead, intake, refused, webhooks, unreadable)

    async def _now_us(self) -> int:
        seconds, microseconds = await self._line.command("TIME")
        return int(seconds) * US + int(microseconds)

    async def _ask(self, default: Any, *command: Argument) -> Any:
        """Run a command; what is not of the kind it should be counts as not there, so that the rest can be seen."""
        try:
            return await self._line.command(*command)
        except errors.QueueBroken:
            return default


def gate_of(streak: int, till_us: int, why: str, now_us: int) -> Gate:
    """Read a gate as the claim does: closed while closings in a row stand and their time has not come."""
    if streak <= 0:
        return Gate("open")
    return Gate("blocked", why, moment(till_us)) if till_us > now_us else Gate("half_open", why)


def _concerns(scope: str, number: Registered, credential: str) -> bool:
    """Whether a stop holds the number or one of its lanes; by template and campaign it holds messages, no numbers."""
    return scope in {
        "all", f"number:{number.id}", f"waba:{number.waba_id}", f"credential:{credential}",
    } or scope.startswith(f"lane:{number.id}:")  # fmt: skip


def _refused(row: bytes) -> RefusedJob:
    entry = read_object(row)
    size = entry.get("size")
    return RefusedJob(
        job=str(entry.get("job", "")),
        reason=str(entry.get("reason", "unreadable")),
        at=str(entry.get("at", "")),
        size=size if isinstance(size, int) else 0,
    )


def _whole(text: str) -> int:
    try:
        return round(float(text))
    except (ValueError, OverflowError):
        return 0


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")

"""Follows in Redis how the messages stand, by the cell's events, and who serves which number; changes nothing."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from dispatcher import errors
from dispatcher.client import REDIS_TIMEOUT_S
from dispatcher.lab.chronicle import UNCERTAIN, Chronicle
from dispatcher.store.connection import connect
from dispatcher.store.schema import Keys
from dispatcher.store.pipeline import Line

_EVENTS_A_CALL: Final = 1000
_CLOSE_ENOUGH_S: Final = 0.0005
_TRIES: Final = 50


@dataclass(frozen=True, slots=True)
class Gate:
    """A number's gate: who serves it, and why it is closed, if it is."""

    owner: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Flight:
    """A message that is `sending`: of which number, at which claim."""

    number: str
    claim: int


class Watch:
    """How the messages stand, as of the last `look`."""

    def __init__(self, line: Line, keys: Keys, numbers: Sequence[str]) -> None:
        self.gates: dict[str, Gate] = dict.fromkeys(numbers, Gate())
        self.chronicle = Chronicle()
        self._line = line
        self._keys = keys
        self._last_event: bytes = b"0-0"
        self._ahead_s = 0.0

    async def set_clock(self) -> None:
        """Find out how Redis's clock stands to ours: its time lies between our question and its answer."""
        for _ in range(_TRIES):
            before_s = time.monotonic()
            seconds, micros = await self._line.command("TIME")
            after_s = time.monotonic()
            self._ahead_s = int(seconds) + int(micros) / 1e6 - (before_s + after_s) / 2
            if after_s - before_s < _CLOSE_ENOUGH_S:
                break

    async def look(self) -> None:
        """Read the events since the last look, and the gates."""
        while await self._read_events() == _EVENTS_A_CALL:
            pass
        gates = await asyncio.gather(*(self._gate(number) for number in self.gates))
        self.gates = dict(zip(self.gates, gates, strict=True))

    async def workers(self) -> int:
        """Return how many worker processes have said that they serve numbers."""
        return int(await self._line.command("ZCARD", self._keys("processes")))

    async def webhooks(self) -> int:
        """Return how many webhooks the door has stored that are not worked off yet."""
        return int(await self._line.command("XLEN", self._keys("webhooks")))

    async def sending(self) -> dict[str, Flight]:
        """Return every message that is under way."""
        keys = [raw.decode() for raw in await self._line.command("ZRANGE", self._keys("sending"), 0, -1)]
        flights = await asyncio.gather(*(self._flight(key) for key in keys))
        return {key: flight for key, flight in zip(keys, flights, strict=True) if flight}

    def is_settled(self, key: str) -> bool:
        """Whether nothing more will be posted of the message."""
        return self.chronicle.state(key) not in {"", UNCERTAIN}

    def has_landed(self, key: str) -> bool:
        """Whether the message is settled or uncertain."""
        return bool(self.chronicle.state(key))

    def uncertain(self) -> set[tuple[str, str]]:
        """Return of which numbers messages of which kind are uncertain."""
        counts = self.chronicle.counts.items()
        return {(number, kind) for (number, kind, state), count in counts if state == UNCERTAIN and count}

    def resolved(self) -> int:
        """Return how many uncertain sends are so no more."""
        return sum(doubt.decided_at_s is not None for doubt in self.chronicle.doubts)

    def receipts(self, status: str, number: str | None = None) -> int:
        """Return how many receipts of this status there are, of one number or of all."""
        counts = self.chronicle.receipt_counts.items()
        return sum(count for (own, kind), count in counts if kind == status and number in {None, own})

    def total(self, state: str, number: str | None = None, kind: str | None = None) -> int:
        """Return how many messages are in this state, of one number or kind or of all; receipts do not change it."""
        return sum(
            count
            for (of_number, of_kind, of_state), count in self.chronicle.counts.items()
            if of_state == state and number in {None, of_number} and kind in {None, of_kind}
        )

    async def _flight(self, key: str) -> Flight | None:
        try:
            number, claim = await self._line.command("HMGET", f"{self._keys.prefix}msg:{key}", "number", "claim")
        except errors.QueueBroken:
            return None  # settled in this moment: its record is packed
        return Flight(number.decode(), int(claim)) if number and claim else None

    async def _read_events(self) -> int:
        command = ("XREAD", "COUNT", _EVENTS_A_CALL, "STREAMS", self._keys("events"), self._last_event.decode())
        entries = _entries(await self._line.command(*command))
        for entry, fields in entries:
            self._last_event = entry
            event = {name.decode(): value.decode() for name, value in fields.items()}
            self.chronicle.note(event, int(event["at"]) / 1000 - self._ahead_s)
        return len(entries)

    async def _gate(self, number: str) -> Gate:
        owner, why, streak = await self._line.command("HMGET", self._keys.gate(number), "owner", "why", "streak")
        is_closed = bool(streak) and int(float(streak)) > 0
        return Gate((owner or b"").decode(), (why or b"closed").decode() if is_closed else "")


@asynccontextmanager
async def watching(redis_url: str, numbers: Sequence[str]) -> AsyncIterator[Watch]:
    """Connect a watch."""
    redis = connect(redis_url, timeout_s=REDIS_TIMEOUT_S)
    line = Line(redis)
    try:
        watch = Watch(line, Keys(), numbers)
        await watch.set_clock()
        yield watch
    finally:
        await line.idle()
        await redis.aclose()


def _entries(reply: Any) -> list[tuple[bytes, Mapping[bytes, bytes]]]:
    """Read what XREAD answers: a list of streams, a mapping of them in newer clients, or nothing."""
    if not reply:
        return []
    ((_, rows),) = reply.items() if isinstance(reply, dict) else reply
    return [(entry, fields if isinstance(fields, dict) else _paired(fields)) for entry, fields in rows]


def _paired(flat: Sequence[bytes]) -> Mapping[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))

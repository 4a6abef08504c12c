"""Follows in Redis how the messages stand, by the cell's events, and who serves which number; changes nothing."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from dispatcher import errors
from dispatcher.client import REDIS_TIMEOUT_S
from dispatcher.demo.evidence import kind_of
from dispatcher.lanes.connection import connect
from dispatcher.lanes.keys import Keys
from dispatcher.lanes.line import Line

UNCERTAIN: Final = "uncertain"
ACCEPTED: Final = "accepted"
_WAITING: Final = frozenset({"retry", "snoozed"})
_NO_STATE: Final = "duplicate"
_EVENTS_A_CALL: Final = 1000


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
    """How the messages stand, as of the last `look`.

    `counts` are messages by number, kind and state; `uncertain_at_s` says when each was first seen to be uncertain.
    """

    def __init__(self, line: Line, keys: Keys, numbers: Sequence[str]) -> None:
        self.gates: dict[str, Gate] = dict.fromkeys(numbers, Gate())
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self.uncertain_at_s: dict[str, float] = {}
        self._states: dict[str, str] = {}
        self._line = line
        self._keys = keys
        self._last_event: bytes = b"0-0"

    async def look(self) -> None:
        """Read the events since the last look, and the gates."""
        while await self._read_events() == _EVENTS_A_CALL:
            pass
        gates = await asyncio.gather(*(self._gate(number) for number in self.gates))
        self.gates = dict(zip(self.gates, gates, strict=True))

    async def workers(self) -> int:
        """Return how many worker processes have said that they serve numbers."""
        return int(await self._line.command("ZCARD", self._keys("processes")))

    async def sending(self) -> dict[str, Flight]:
        """Return every message that is under way."""
        keys = [raw.decode() for raw in await self._line.command("ZRANGE", self._keys("sending"), 0, -1)]
        flights = await asyncio.gather(*(self._flight(key) for key in keys))
        return {key: flight for key, flight in zip(keys, flights, strict=True) if flight}

    def has_landed(self, key: str) -> bool:
        """Whether the message is settled or uncertain."""
        return self._states.get(key, "retry") not in _WAITING

    def landed(self, kind: str) -> int:
        """Return how many messages of this kind are settled or uncertain."""
        return sum(n for (_, own, state), n in self.counts.items() if own == kind and state not in _WAITING)

    def total(self, state: str, number: str | None = None, kind: str | None = None) -> int:
        """Return how many messages are in this state, of one number or kind or of all."""
        return sum(
            count
            for (of_number, of_kind, of_state), count in self.counts.items()
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
            self._note(fields)
        return len(entries)

    def _note(self, event: Mapping[bytes, bytes]) -> None:
        key, number, state = (event[name].decode() for name in (b"key", b"number", b"type"))
        if state == _NO_STATE:
            return
        if before := self._states.get(key):
            self.counts[number, kind_of(key), before] -= 1
        self._states[key] = state
        self.counts[number, kind_of(key), state] += 1
        if state == UNCERTAIN:
            self.uncertain_at_s.setdefault(key, time.monotonic())

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
        yield Watch(line, Keys(), numbers)
    finally:
        await line.idle()
        await redis.aclose()


def _entries(reply: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """Read what XREAD answers: a list of streams, a mapping of them in newer clients, or nothing."""
    if not reply:
        return []
    ((_, rows),) = reply.items() if isinstance(reply, dict) else reply
    return [(entry, fields if isinstance(fields, dict) else _paired(fields)) for entry, fields in rows]


def _paired(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))

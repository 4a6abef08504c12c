"""The simulator, or the cheap sink, as a process of its own, and what it saw."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.bench.processes import Child

_TRIES_LEAST = 5
_TRIES_MOST = 50


@dataclass(frozen=True, slots=True)
class Arrival:
    """A POST of `key` at the simulator; `at_ns` by this machine's monotonic clock."""

    key: str
    number: str
    at_ns: int
    outcome: str


@dataclass(frozen=True, slots=True)
class Tally:
    """How many POSTs came and how many keys were accepted once; most requests that were open at once, if known."""

    posts: int
    once: int
    first_ns: int
    most_open: int | None


class Cloud:
    """Talks to a simulator; its clock is this machine's, counted from a moment that `reset` finds."""

    def __init__(self, child: Child, url: str, http: httpx.AsyncClient, latency_ms: float) -> None:
        self.child = child
        self.url = url
        self._http = http
        self._latency_ns = latency_ms * 1e6
        self._started_ns = 0

    async def reset(self) -> None:
        """Empty the ledger, and find out when its time began.

        Its clock begins between the order and the answer. Tried until a quick round trip, whose end counts: a
        latency may be told too long by that round trip (well under a millisecond), never too short.
        """
        quickest_ns = 1 << 62
        for tries in range(_TRIES_MOST):
            asked_ns = time.monotonic_ns()
            (await self._http.delete(f"{self.url}/_ledger")).raise_for_status()
            self._started_ns = time.monotonic_ns()
            took_ns = self._started_ns - asked_ns
            if tries >= _TRIES_LEAST and took_ns <= quickest_ns:
                return
            quickest_ns = min(quickest_ns, took_ns)

    async def report(self) -> dict[str, Any]:
        answer = await self._http.get(f"{self.url}/_ledger")
        return dict(answer.raise_for_status().json())

    async def arrivals(self) -> list[Arrival]:
        """All POSTs in the order of their arrival."""
        answer = await self._http.get(f"{self.url}/_ledger/requests")
        return [
            Arrival(one["key"] or "", one["number"], self._started_ns + round(one["arrived_ms"] * 1e6), one["outcome"])
            for one in answer.raise_for_status().json()
        ]

    async def rule(self, **fields: Any) -> None:
        """Order what POSTs get that match; see the simulator's rules."""
        (await self._http.post(f"{self.url}/_control/rules", json=fields)).raise_for_status()

    async def tally(self) -> Tally:
        report, arrivals = await self.report(), await self.arrivals()
        first_ns = arrivals[0].at_ns if arrivals else 0
        return Tally(len(arrivals), report["accepted_once"], first_ns, self._most_open(arrivals))

    def _most_open(self, arrivals: list[Arrival]) -> int:
        most, oldest = 0, 0
        for newest, one in enumerate(arrivals):
            while one.at_ns - arrivals[oldest].at_ns > self._latency_ns:
                oldest += 1
            most = max(most, newest - oldest + 1)
        return most


class Sink(Cloud):
    """The cheap sink; it knows no more than how many came, and whether each key came once."""

    async def reset(self) -> None:
        """Find nothing to empty: it is as new as its process."""

    async def tally(self) -> Tally:
        seen = (await self._http.get(self.url)).raise_for_status().json()
        return Tally(seen["posts"], seen["once"], seen["first_ns"], None)


@asynccontextmanager
async def sink(folder: Path) -> AsyncIterator[Sink]:
    """Run a sink while the block runs."""
    with Child(["sink"], folder / "sink") as child:
        url = child.line().removeprefix("listening on ")
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            yield Sink(child, url, http, 0.0)


@asynccontextmanager
async def cloud(folder: Path, *, rate: float, latency_ms: float, token: str) -> AsyncIterator[Cloud]:
    """Run a simulator while the block runs."""
    arguments = ["simulator", "--rate", str(rate), "--latency-ms", str(latency_ms), "--token", token]
    with Child([*arguments, "--ledger", str(folder / "ledger.json")], folder / "simulator") as child:
        url = child.line().removeprefix("listening on ")
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            found = Cloud(child, url, http, latency_ms)
            await found.reset()
            yield found

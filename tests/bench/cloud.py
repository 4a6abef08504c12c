"""The simulator as a process of its own, and what its ledger says."""

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
    at_ns: int
    outcome: str


class Cloud:
    """Talks to a simulator; its clock is this machine's, counted from a moment that `reset` finds."""

    def __init__(self, child: Child, url: str, http: httpx.AsyncClient) -> None:
        self.child = child
        self.url = url
        self._http = http
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
            Arrival(one["key"] or "", self._started_ns + round(one["arrived_ms"] * 1e6), one["outcome"])
            for one in answer.raise_for_status().json()
        ]


@asynccontextmanager
async def cloud(folder: Path, *, rate: float, latency_ms: float, token: str) -> AsyncIterator[Cloud]:
    """Run a simulator while the block runs."""
    arguments = ["simulator", "--rate", str(rate), "--latency-ms", str(latency_ms), "--token", token]
    with Child([*arguments, "--ledger", str(folder / "ledger.json")], folder / "simulator") as child:
        url = child.line().removeprefix("listening on ")
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            found = Cloud(child, url, http)
            await found.reset()
            yield found

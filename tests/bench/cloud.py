"""The simulator, or the cheap sink, as a process of its own, and what it saw."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from dispatcher.lab.deployment import start_simulator, url_of
from dispatcher.lab.processes import Process
from dispatcher.lab.simulator import SimulatorClient
from tests.bench.processes import start_child


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
    """What a simulator saw, from the moment that it was started or emptied."""

    def __init__(self, process: Process, url: str, latency_ms: float) -> None:
        self.process = process
        self.url = url
        self.simulator = SimulatorClient(url)
        self._latency_ns = latency_ms * 1e6

    async def report(self) -> dict[str, Any]:
        return await self.simulator.report()

    async def arrivals(self) -> list[Arrival]:
        """All POSTs in the order of their arrival; a latency may be told too long by a round trip, never too short."""
        return [
            Arrival(post.key, post.number, round(post.at_s * 1e9), post.outcome)
            for post in await self.simulator.posts()
        ]

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

    async def tally(self) -> Tally:
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            seen = (await http.get(self.url)).raise_for_status().json()
        return Tally(seen["posts"], seen["once"], seen["first_ns"], None)


@asynccontextmanager
async def sink(folder: Path) -> AsyncIterator[Sink]:
    """Run a sink while the block runs."""
    with start_child("sink", folder, "sink") as process:
        yield Sink(process, process.line().removeprefix("listening on "), 0.0)


@asynccontextmanager
async def cloud(folder: Path, *, rate: float, latency_ms: float, token: str) -> AsyncIterator[Cloud]:
    """Run a simulator while the block runs."""
    flags = ["--rate", str(rate), "--latency-ms", str(latency_ms), "--token", token]
    with start_simulator("simulator", folder, *flags, "--ledger", str(folder / "ledger.json")) as process:
        process.guard(folder)
        found = Cloud(process, await url_of(process), latency_ms)
        await found.simulator.begin()
        yield found

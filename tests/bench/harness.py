"""What every measurement needs: a server, a simulator, worker processes, a backlog, and an end to all of them."""

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dispatcher import Dispatcher
from dispatcher.lab.deployment import start_worker, write_numbers
from dispatcher.lab.processes import Process
from dispatcher.store import numbers as registry
from dispatcher.store import stops
from dispatcher.store.connection import connect
from dispatcher.store.embedded import Server
from dispatcher.store.pipeline import Pipeline
from dispatcher.store.schema import Cell
from dispatcher.store.stops import Stop
from tests.bench.cloud import Cloud, cloud, sink
from tests.bench.processes import Meter
from tests.store.cell import published

NUMBER = "106540352242922"
SECOND = "106540352242923"
WABA = "102290129340398"
TOKEN = "bench-token"
CELL = Cell()
LATENCY_MS = 150.0
UNPACED_PER_S = 100_000.0
_POLL_S = 0.005
_START_LIMIT_S = 30.0

# What a deployment should have; the rest are the server's defaults.
_SERVER_OPTIONS = {"appendonly": "yes", "appendfsync": "everysec"}

# About 370 bytes as it is posted.
CONTENT = {
    "type": "template",
    "template": {
        "name": "order_shipped",
        "language": {"code": "en_US"},
        "components": [
            {
                "type": "body",
                "parameters": [
                    {"type": "text", "text": "Jessica"},
                    {"type": "text", "text": "SKBUP2-4CPIG9"},
                    {"type": "text", "text": "Friday, 27 November"},
                ],
            }
        ],
    },
}


def message(key: str, place: int, priority: str, number: str = NUMBER) -> dict[str, Any]:
    """A message to one of a hundred thousand recipients."""
    return {
        "number": number, "to": f"+1555{place % 100_000:07d}", "key": key, "priority": priority, "content": CONTENT,
    }  # fmt: skip


@dataclass(slots=True)
class Rig:
    """A running server and simulator for numbers with so many messages a second; workers are added by `start`."""

    folder: Path
    rates: Mapping[str, float]
    server: Server
    cloud: Cloud
    redis: Any
    stack: ExitStack
    settings: Mapping[str, str]
    workers: list[Process] = field(default_factory=list)

    async def register(self) -> None:
        """Publish the numbers, as a command with the numbers file does, so that producers may begin before workers."""
        numbers = [published(number, f"bench-{number}", rate, WABA) for number, rate in self.rates.items()]
        await Pipeline(self.redis).follow(registry.publish(CELL, numbers))

    async def enqueue(self, count: int, *, priority: str = "bulk", prefix: str = "b") -> float:
        """Queue a backlog on the first number; how long it took, in seconds."""
        await self.register()
        started_at = time.monotonic()
        async with Dispatcher.connect(self.server.url, timeout_s=10) as producer:
            async for ticket in producer.send_many(message(f"{prefix}{i}", i, priority) for i in range(count)):
                if ticket.error:
                    raise ticket.error
        return time.monotonic() - started_at

    async def start(self, count: int) -> None:
        """Start workers, and return when all of them serve."""
        for _ in range(count):
            name = f"worker-{len(self.workers) + 1}"
            worker = start_worker(name, self.folder, self.settings, "--child-of", str(os.getpid()))
            self.workers.append(self.stack.enter_context(worker))

        async def all_serve() -> bool:
            for worker in self.workers:
                worker.check()
            return int(await self.redis.zcard(CELL.key("processes"))) >= len(self.workers)

        await until(all_serve, _START_LIMIT_S)

    async def hold(self, scope: str = "all") -> None:
        """Put a stop into force: workers serve, and send nothing of it."""
        await Pipeline(self.redis).run(stops.add(CELL, Stop(scope, "hold", "bench", "bench")))

    async def let_go(self, scope: str = "all") -> None:
        """Lift the stop, and wake the numbers it held."""
        await Pipeline(self.redis).follow(stops.lift(CELL, scope, list(self.rates)))

    def stop(self) -> None:
        """Stop the workers cleanly."""
        for worker in self.workers:
            code = worker.stop()
            if code:
                raise RuntimeError(f"{worker.name} ended with {code}: {worker.logged[-2000:]}")
        self.workers.clear()

    def meter(self) -> Meter:
        """Begin to measure the processes' use of processors."""
        workers = {f"worker {i}": worker.pid for i, worker in enumerate(self.workers, 1)}
        return Meter({**workers, "simulator": self.cloud.process.pid, "redis": self.server.pid})

    async def commands(self) -> dict[str, int]:
        """How often the server ran each command; those that scripts call are among them."""
        stats = await self.redis.info("commandstats")
        return {name.removeprefix("cmdstat_"): int(stat["calls"]) for name, stat in stats.items()}

    async def waiting(self) -> int:
        """Messages that are neither settled nor uncertain."""
        async with self.redis.pipeline(transaction=False) as pipe:
            for name in (*CELL.lanes(NUMBER), CELL.key("sending")):
                pipe.zcard(name)
            return sum(await pipe.execute())


@asynccontextmanager
async def rig(
    *,
    rate: float,
    latency_ms: float = LATENCY_MS,
    numbers: tuple[str, ...] = (NUMBER,),
    settings: Mapping[str, str] | None = None,
    is_cheap: bool = False,
) -> AsyncIterator[Rig]:
    """A server and a simulator of their own in a temporary folder; all of it is gone after the block.

    Each number may send `rate` messages a second. `settings` (names without prefix) are added to those of the workers. With `is_cheap` a sink
    that judges nothing and answers at once stands for the simulator.
    """
    with tempfile.TemporaryDirectory(prefix="dispatcher-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        names = {number: f"bench-{number}" for number in numbers}
        numbers_file = write_numbers(folder, names, rate=rate, waba=WABA, token=TOKEN)
        server = stack.enter_context(Server(options=_SERVER_OPTIONS))
        redis = connect(server.url, CELL, timeout_s=30)
        try:
            standing = sink(folder) if is_cheap else cloud(folder, rate=rate, latency_ms=latency_ms, token=TOKEN)
            async with standing as found:
                given = {
                    "REDIS_URL": server.url,
                    "GRAPH_URL": found.url,
                    "NUMBERS_FILE": str(numbers_file),
                    "METRICS_PORT": "0",
                    **(settings or {}),
                }
                yield Rig(folder, dict.fromkeys(numbers, rate), server, found, redis, stack, given)
                stack.close()
        finally:
            await redis.aclose()


async def until(holds: Callable[[], Awaitable[bool]], limit_s: float, every_s: float = _POLL_S) -> None:
    """Return once `holds`; raise after `limit_s` seconds."""
    deadline = time.monotonic() + limit_s
    while not await holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {limit_s:g} s in vain")
        await asyncio.sleep(every_s)


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least `share` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-round(share * 1000) * len(ordered) // 1000) - 1)]


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

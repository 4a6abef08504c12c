"""A whole cell for tests: a simulator on a real socket, a numbers file, a client, and workers in this process."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from dispatcher import Dispatcher
from dispatcher.observe.metrics import Metrics
from dispatcher.settings import NumbersFile, Settings
from dispatcher.simulator import Simulator
from dispatcher.store.queue import Record
from dispatcher.worker.run import App, assembled
from tests.servers import PATIENCE_S
from tests.store.cell import bucket_size, publish, refill_rate

OTP, SHOP = "106540352242922", "106540352242923"
NAMES = {OTP: "otp", SHOP: "shop"}
WABA = "102290129340398"
TOKEN = "EAAGtoken"
RATE = 80.0
UNPACED = 100_000.0
"""A rate for simulators: on a busy machine messages arrive in other intervals than they were sent in."""
T = TypeVar("T")
_CELLS = itertools.count(1)


@dataclass
class Cell:
    """One cell; `settings` are those of its workers."""

    simulator: Simulator
    settings: Settings
    numbers_file: Path
    token_file: Path
    client: Dispatcher
    redis: Any  # redis-py's types say of each command that it may or may not be awaited
    _apps: list[tuple[App, "asyncio.Task[None]"]] = field(default_factory=list)

    @property
    def prefix(self) -> str:
        return f"dispatch:{{{self.settings.cell}}}:"

    async def work(self, numbers_file: Path | None = None) -> App:
        """Start a worker in this process, on a numbers file of its own if one is given."""
        started: asyncio.Future[App] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._run(started, numbers_file or self.numbers_file))
        await asyncio.wait({started, task}, return_when=asyncio.FIRST_COMPLETED)  # type: ignore[type-var]
        if not started.done():
            await task
        self._apps.append((started.result(), task))
        return started.result()

    async def _run(self, started: "asyncio.Future[App]", numbers_file: Path) -> None:
        numbers = NumbersFile.load(numbers_file)
        async with assembled(self.settings, numbers, Metrics(CollectorRegistry())) as app:
            started.set_result(app)
            await app.run()

    async def end(self, app: App, timeout_s: float = PATIENCE_S) -> None:
        """Stop a worker as SIGTERM does, and wait for its end."""
        task = next(task for running, task in self._apps if running is app)
        app.stop()
        await asyncio.wait_for(task, timeout_s)
        self._apps = [(running, task) for running, task in self._apps if running is not app]

    async def end_all(self) -> None:
        for app, task in list(self._apps):
            if task.done():
                task.result()
            await self.end(app)

    def message(self, key: str, **fields: Any) -> dict[str, Any]:
        """A text message of the otp number."""
        content = {"type": "text", "text": {"body": "hello"}}
        return {"number": OTP, "to": "+15551234567", "key": key, "content": content, **fields}

    async def held(self, number: str = OTP) -> None:
        """Keep the gate of a number closed for an hour, so that only what opens it at once can open it."""
        seconds, micros = await self.redis.time()
        await self.redis.hset(f"{self.prefix}gate:{number}", "until", (int(seconds) + 3600) * 1_000_000 + int(micros))

    async def send(self, key: str, **fields: Any) -> None:
        await self.client.send(self.message(key, **fields))

    async def send_all(self, keys: list[str], **fields: Any) -> None:
        async for ticket in self.client.send_many(self.message(key, **fields) for key in keys):
            assert ticket.error is None, ticket.error

    async def record(self, key: str) -> Record:
        found = await self.client.status(key)
        assert found is not None, f"{key} is not known"
        return found

    async def becomes(self, key: str, state: str, within_s: float = PATIENCE_S) -> Record:
        """Wait until a message has a state."""

        async def has_state() -> Record | None:
            found = await self.client.status(key)
            return found if found is not None and found.state == state else None

        try:
            return await eventually(has_state, within_s)
        except TimeoutError:
            raise AssertionError(f"{key} did not become {state}: {await self.client.status(key)}") from None

    async def all_become(self, keys: list[str], state: str, within_s: float = PATIENCE_S) -> None:
        for key in keys:
            await self.becomes(key, state, within_s)

    async def were_claimed_at(self, keys: list[str], rate: float) -> None:
        """See by Redis's clock that no claims of these messages went beyond what the bucket held and what flowed in."""
        records = [await self.record(key) for key in keys]
        at_s = sorted(record.claimed_at.timestamp() for record in records if record.claimed_at is not None)
        assert len(at_s) == len(keys)
        for first, began_s in enumerate(at_s):
            for count, ended_s in enumerate(at_s[first:], 1):
                assert count <= bucket_size(rate) + refill_rate(rate) * (ended_s - began_s) + 1e-3

    def posts(self, key: str | None = None) -> list[dict[str, object]]:
        """What the simulator saw, of one key or of all."""
        return [post for post in self.simulator.ledger.requests() if key is None or post["key"] == key]

    async def events(self) -> list[dict[bytes, bytes]]:
        return [fields for _, fields in await self.redis.xrange(f"{self.prefix}events")]


async def posted(cell: Cell, count: int) -> None:
    """Wait until the simulator has seen so many POSTs."""

    async def enough() -> bool:
        return len(cell.simulator.ledger) >= count

    await eventually(enough)


async def eventually(check: Callable[[], Awaitable[T | None]], within_s: float = PATIENCE_S) -> T:
    """Ask until the answer is true."""
    ends_at = time.monotonic() + within_s
    while time.monotonic() < ends_at:
        if found := await check():
            return found
        await asyncio.sleep(0.01)
    raise TimeoutError


def write_numbers(folder: Path, rate: float = RATE) -> tuple[Path, Path]:
    """Write a numbers file with two numbers and one token."""
    token_file, numbers_file = folder / "token", folder / "numbers.toml"
    token_file.write_text(TOKEN)
    numbers_file.write_text(
        "\n".join(
            f'[numbers.{number}]\nname = "{name}"\nwaba_id = "{WABA}"\nmessages_per_second = {rate}\n'
            f'access_token = {{ file = "{token_file}" }}'
            for number, name in NAMES.items()
        )
    )
    return numbers_file, token_file


@contextlib.asynccontextmanager
async def cell(
    redis_url: str, folder: Path, simulator: Simulator, *, rate: float = RATE, **settings: Any
) -> AsyncIterator[Cell]:
    """Open a cell of its own on a server that may be shared; it posts to the simulator, or to another `graph_url`."""
    numbers_file, token_file = write_numbers(folder, rate)
    made = Settings(
        redis_url=redis_url, cell=f"test-{next(_CELLS)}", numbers_file=numbers_file, metrics_port=0,
        **{"graph_url": simulator.url, **settings},
    )  # fmt: skip
    async with (
        Dispatcher.connect(redis_url, cell=made.cell, timeout_s=PATIENCE_S) as client,
        Redis.from_url(redis_url, protocol=2) as redis,
    ):
        numbers = NumbersFile.load(numbers_file).numbers.values()
        await publish(redis, made.cell, *numbers)
        opened = Cell(simulator, made, numbers_file, token_file, client, redis)
        try:
            yield opened
        finally:
            await opened.end_all()

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import structlog
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from dispatcher import Dispatcher
from dispatcher.api.run import Api, Timeouts, assembled, opt_out_words
from dispatcher.api.server import address_of, listen
from dispatcher.observe import logs
from dispatcher.observe.metrics import ApiMetrics
from dispatcher.settings import Settings
from dispatcher.store import schema
from dispatcher.store.embedded import Server
from tests.api.meta import NUMBER, SECRET, WABA, WEBHOOKS, signed
from tests.cell import eventually
from tests.servers import PATIENCE_S
from tests.store.cell import publish, published

_CELLS = itertools.count(1)
TOKEN = "open-sesame"
LONG: dict[str, Any] = {"redis_timeout_s": 3.5, "number_lease_s": 7.0}
"""As long as settings allow: here a slow answer of Redis is an answer."""


@dataclass
class Running:
    """An API process within this one."""

    api: Api
    url: str
    settings: Settings
    metrics: ApiMetrics
    http: httpx.AsyncClient
    redis: Any  # redis-py's types say of each command that it may or may not be awaited
    task: "asyncio.Task[None]"

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.url.removeprefix("http://").split(":")
        return host, int(port)

    @property
    def prefix(self) -> str:
        return schema.Cell(self.settings.cell).prefix

    async def post(self, body: bytes, headers: dict[str, str] | None = None) -> int:
        answer = await self.http.post(WEBHOOKS, content=body, headers=signed(body) if headers is None else headers)
        return answer.status_code

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    async def gap(self) -> int:
        return int(await self.redis.hget(f"{self.prefix}door", "gap") or 0)

    async def now(self) -> int:
        seconds, micros = await self.redis.time()
        return int(seconds) * 1_000_000 + int(micros)

    async def marks_a_gap_after(self, moment: int, within_s: float = PATIENCE_S) -> None:
        async def is_marked() -> bool:
            return await self.gap() >= moment

        await eventually(is_marked, within_s)

    async def beats_again(self) -> None:
        """Wait for a beat that begins from now on."""
        before = self.scripts("beat")

        async def has_beaten() -> bool:
            return self.scripts("beat") >= before + 2  # one may be under way

        await eventually(has_beaten)

    def scripts(self, name: str) -> int:
        """How often a script was run by this process."""
        return int(self.value("dispatcher_redis_script_seconds_count", script=name))

    async def works_off_all(self, within_s: float = PATIENCE_S) -> None:
        async def is_empty() -> bool:
            return int(await self.redis.xlen(f"{self.prefix}webhooks")) == 0

        await eventually(is_empty, within_s)

    async def end(self) -> None:
        """Stop it as SIGTERM does."""
        self.api.stop()
        await asyncio.wait_for(self.task, PATIENCE_S)


@contextlib.asynccontextmanager
async def running(
    redis_url: str,
    *,
    cell: str = "",
    timeouts: Timeouts | None = None,
    metrics: ApiMetrics | None = None,
    **given: Any,
) -> AsyncIterator[Running]:
    """Run an API on a free port."""
    settings = Settings(
        redis_url=redis_url, cell=cell or f"api-{next(_CELLS)}", app_secrets=f"older,{SECRET}",
        webhook_verify_token=TOKEN, **LONG, **given,
    )  # fmt: skip
    with listen("127.0.0.1", 0) as listener:
        url, metrics = address_of(listener), metrics or ApiMetrics(CollectorRegistry())
        async with (
            assembled(settings, opt_out_words(settings), listener, metrics, timeouts or Timeouts()) as api,
            httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as http,
            Redis.from_url(redis_url, protocol=2) as redis,
        ):
            made = Running(api, url, settings, metrics, http, redis, asyncio.create_task(api.run()))
            try:
                yield made
            finally:
                await made.end()


@pytest.fixture
async def api(server: Server, redis: Redis) -> AsyncIterator[Running]:
    async with running(server.url) as made:
        yield made


@pytest.fixture
async def client(api: Running) -> AsyncIterator[Dispatcher]:
    """A producer of the cell, whose number is known."""
    await publish(api.redis, api.settings.cell, published(NUMBER, "otp", 80.0, WABA))
    async with Dispatcher.connect(api.settings.redis_url.get_secret_value(), cell=api.settings.cell) as made:
        yield made


def message(key: str) -> dict[str, Any]:
    content = {"type": "text", "text": {"body": "hello"}}
    return {"number": NUMBER, "to": "+15551234567", "key": key, "content": content}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logs.set_up("ERROR")
    yield
    structlog.reset_defaults()  # this test's output is closed by then

"""A simulator that sends its webhooks to a receiver, and a client that posts messages to it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx

from dispatcher.simulator import SimulatedNumber, Simulator, SimulatorSettings, WebhookSettings
from tests.simulator.receiver import SECRET, WAIT_S, Receiver, receiving
from tests.simulator.wire import NUMBER, PATH, TOKEN, headers

QUICK: dict[str, Any] = {
    "secret": SECRET,
    "sent_ms": 0,
    "delivered_ms": 0,
    "read_ms": 0,
    "failed_ms": 0,
    "batch_ms": 0,
    "retry_ms": 5,
    "connections": 1,
    "timeout_ms": WAIT_S * 1000,
}
NEARLY_WITHOUT_LIMIT = SimulatedNumber(rate=100_000)


class Stage:
    """All three, and what the tests do with them."""

    def __init__(self, simulator: Simulator, receiver: Receiver, client: httpx.AsyncClient) -> None:
        self.simulator = simulator
        self.receiver = receiver
        self.client = client

    async def post(self, body: dict[str, Any]) -> httpx.Response:
        return await self.client.post(PATH, json=body)

    async def control(self, path: str, order: object = None) -> Any:
        answer = await self.client.post(f"/_control/{path}", json={} if order is None else order)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def settle(self) -> None:
        assert await self.simulator.webhooks.settled(WAIT_S)

    async def until(self, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until the ledger's page about webhooks is so."""
        async with asyncio.timeout(WAIT_S):
            while not is_so(page := await self.page()):
                await asyncio.sleep(0.001)
        return page

    async def page(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.client.get("/_ledger")).json()["webhooks"]
        return found


@asynccontextmanager
async def staged(
    held: frozenset[str] = frozenset(), number: SimulatedNumber = NEARLY_WITHOUT_LIMIT, **webhooks: Any
) -> AsyncIterator[Stage]:
    before = asyncio.all_tasks()
    async with receiving() as receiver:
        settings = SimulatorSettings(
            numbers={NUMBER: number},
            token=TOKEN,
            held_templates=held,
            webhooks=WebhookSettings(**{"url": receiver.url, **QUICK, **webhooks}),
        )
        async with (
            Simulator(settings).serving() as simulator,
            httpx.AsyncClient(base_url=simulator.url, headers=headers(), trust_env=False, timeout=WAIT_S) as client,
        ):
            yield Stage(simulator, receiver, client)
    assert asyncio.all_tasks() == before

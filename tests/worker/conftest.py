from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from dispatcher.observe import logs
from dispatcher.simulator import SimulatedNumber, Simulator, SimulatorSettings
from dispatcher.store.embedded import Server
from tests.cell import OTP, SHOP, TOKEN, Cell
from tests.cell import cell as open_cell

SHORT = {
    "http_timeout_s": 1.0,
    "http_timeout_urgent_s": 0.5,
    "claim_to_post_s": 0.5,
    "message_lease_margin_s": 1.0,
    "redis_timeout_s": 0.5,
    "number_lease_s": 1.0,
}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    numbers = {OTP: SimulatedNumber(token=TOKEN, rate=80), SHOP: SimulatedNumber(token=TOKEN, rate=80)}
    async with Simulator(SimulatorSettings(numbers=numbers, token="EAAGother", keep_bodies=True)).serving() as running:
        yield running


@pytest.fixture
async def cell(server: Server, simulator: Simulator, tmp_path: Path) -> AsyncIterator[Cell]:
    """A cell with short times and no worker yet."""
    async with open_cell(server.url, tmp_path, simulator, **SHORT) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Thousands of attempts would hide what failed."""
    logs.set_up("ERROR")
    yield
    structlog.reset_defaults()  # this test's output is closed by then

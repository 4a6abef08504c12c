from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from dispatcher.observe import logs
from dispatcher.simulator import SimulatedNumber, Simulator, SimulatorSettings
from dispatcher.store.embedded import Server
from tests.cell import OTP, SHOP, TOKEN, UNPACED, Cell
from tests.cell import cell as open_cell
from tests.proxy import Holder

# Only what is urgent is given up soon, in tests of what hangs. All other messages have time enough on any machine.
SHORT = {
    "http_timeout_s": 30.0,
    "http_timeout_urgent_s": 0.5,
    "claim_to_post_s": 30.0,
    "message_lease_margin_s": 30.0,
    "redis_timeout_s": 2.0,
    "number_lease_s": 4.0,
}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    numbers = {number: SimulatedNumber(token=TOKEN, rate=UNPACED) for number in (OTP, SHOP)}
    async with Simulator(SimulatorSettings(numbers=numbers, token="EAAGother", keep_bodies=True)).serving() as running:
        yield running


@pytest.fixture
async def holder(simulator: Simulator) -> AsyncIterator[Holder]:
    """Stands before the simulator, and holds answers until it is opened."""
    async with Holder(simulator.url).listening() as listening:
        yield listening


@pytest.fixture
async def held_cell(server: Server, simulator: Simulator, holder: Holder, tmp_path: Path) -> AsyncIterator[Cell]:
    """A cell that posts through the holder."""
    async with open_cell(server.url, tmp_path, simulator, graph_url=holder.url, **SHORT) as opened:
        yield opened
        holder.open.set()


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

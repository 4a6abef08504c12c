from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dispatcher.simulator import SimulatedNumber, Simulator, SimulatorSettings
from dispatcher.store.embedded import Server
from tests.cell import OTP, SHOP, TOKEN, UNPACED, Cell
from tests.cell import cell as open_cell
from tests.crash.workers import PATIENT
from tests.proxy import Holder


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    numbers = {number: SimulatedNumber(token=TOKEN, rate=UNPACED) for number in (OTP, SHOP)}
    async with Simulator(SimulatorSettings(numbers=numbers, token="EAAGother", latency_ms=200)).serving() as running:
        yield running


@pytest.fixture
async def cell(server: Server, simulator: Simulator, tmp_path: Path) -> AsyncIterator[Cell]:
    async with open_cell(server.url, tmp_path, simulator, **PATIENT) as opened:
        yield opened


@pytest.fixture
async def holder(simulator: Simulator) -> AsyncIterator[Holder]:
    """Stands before the simulator, and holds answers until it is opened."""
    async with Holder(simulator.url).listening() as listening:
        yield listening


@pytest.fixture
async def held_cell(server: Server, simulator: Simulator, holder: Holder, tmp_path: Path) -> AsyncIterator[Cell]:
    """A cell that posts through the holder."""
    async with open_cell(server.url, tmp_path, simulator, graph_url=holder.url, **PATIENT) as opened:
        yield opened
        holder.open.set()

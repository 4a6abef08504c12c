from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dispatcher.simulator import SimulatedNumber, Simulator, SimulatorSettings
from dispatcher.store.embedded import Server
from tests.cell import OTP, SHOP, TOKEN, Cell
from tests.cell import cell as open_cell
from tests.crash.workers import SHORT


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    numbers = {OTP: SimulatedNumber(token=TOKEN, rate=80), SHOP: SimulatedNumber(token=TOKEN, rate=80)}
    async with Simulator(SimulatorSettings(numbers=numbers, token="EAAGother", latency_ms=200)).serving() as running:
        yield running


@pytest.fixture
async def cell(server: Server, simulator: Simulator, tmp_path: Path) -> AsyncIterator[Cell]:
    async with open_cell(server.url, tmp_path, simulator, **SHORT) as opened:
        yield opened

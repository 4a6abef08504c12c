"""Simulators for the tests: in this process over asyncio, and as a process of its own over uvloop."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import pytest_asyncio

from dispatcher.simulator import SimulatedNumber, Simulator, SimulatorSettings
from tests.servers import PATIENCE_S
from tests.simulator.wire import NUMBER, TOKEN, headers


@pytest_asyncio.fixture
async def simulator() -> AsyncIterator[Simulator]:
    settings = SimulatorSettings(numbers={NUMBER: SimulatedNumber(rate=100_000)}, token=TOKEN, keep_bodies=True)
    async with Simulator(settings).serving() as running:
        yield running


@pytest_asyncio.fixture
async def client(simulator: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=simulator.url, headers=headers(), trust_env=False, timeout=PATIENCE_S) as one:
        yield one


@pytest.fixture(scope="session")
def simulator_process() -> Iterator[str]:
    """The URL of a simulator that runs as `dispatcher simulator`."""
    arguments = ["--number", NUMBER, "--token", TOKEN, "--rate", "100000"]
    with subprocess.Popen(
        [sys.executable, "-m", "dispatcher", "simulator", *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[-1]
        process.terminate()
        process.stdout.read()


@pytest_asyncio.fixture(params=["asyncio", "uvloop"])
async def url(request: pytest.FixtureRequest, simulator: Simulator, simulator_process: str) -> AsyncIterator[str]:
    """A simulator with an empty ledger and nothing ordered, on either event loop."""
    chosen = simulator.url if request.param == "asyncio" else simulator_process
    async with httpx.AsyncClient(base_url=chosen, trust_env=False, timeout=PATIENCE_S) as one:
        for path in ("/_ledger", "/_control/rules", "/_control/faults"):
            assert (await one.delete(path)).status_code == 200
    yield chosen

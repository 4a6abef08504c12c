"""Puts the real parts of the demo on the stage and clears it: server, simulator, workers, all in one folder."""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from dispatcher.demo.evidence import LATENCY_S
from dispatcher.demo.options import Options
from dispatcher.demo.parts import DemoError, Part, clean_environment
from dispatcher.embedded import Server

HTTP_TIMEOUT_S: Final = 5.0
HTTP_TIMEOUT_URGENT_S: Final = 3.0
MESSAGE_LEASE_MARGIN_S: Final = 3.0
STOP_LIMIT_S: Final = HTTP_TIMEOUT_S + 5.0
"""A worker that is asked to end may take the HTTP deadline and 5 s."""
START_LIMIT_S: Final = 15.0

_KEPT: Final = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}
_FAULTS: Final = {"throttle": 0.01, "hang_before": 0.0025, "hang_after": 0.0025}
# In a run of the default size it brings about as many faults as the chances promise.
_SEED: Final = "28"
_TOKEN: Final = "demo-token"  # noqa: S105 - opens nothing but the simulator of this run
_FIRST_NUMBER: Final = 106540352242922
_WABA: Final = "102290129340398"
_POLL_S: Final = 0.02


class Scene:
    """What runs. `numbers` are the ids of the numbers by their names."""

    def __init__(self, options: Options, folder: Path, server: Server) -> None:
        self.server = server
        self.simulator_url = ""
        self.numbers = numbers_of(options)
        self.workers: list[Part] = []
        self._folder = folder
        self._write_numbers(options)
        self._simulator = _start_simulator(options, folder)

    async def wait_for_simulator(self) -> None:
        """Learn where the simulator listens.

        Raises:
            DemoError: It ended, or says nothing.
        """
        started_at = time.monotonic()
        while not (said := self._simulator.said).endswith("\n"):
            self._simulator.fail_if_ended()
            if time.monotonic() - started_at > START_LIMIT_S:
                raise DemoError("the simulator does not start")
            await asyncio.sleep(_POLL_S)
        self.simulator_url = said.split()[-1]

    def start_worker(self) -> Part:
        """Start one more worker; it ends by itself should this process be gone."""
        name = f"worker-{len(self.workers) + 1}"
        ours = {
            "REDIS_URL": self.server.url,
            "GRAPH_URL": self.simulator_url,
            "NUMBERS_FILE": str(self._folder / "numbers.toml"),
            "METRICS_PORT": "0",
            "HTTP_TIMEOUT_S": str(HTTP_TIMEOUT_S),
            "HTTP_TIMEOUT_URGENT_S": str(HTTP_TIMEOUT_URGENT_S),
            "MESSAGE_LEASE_MARGIN_S": str(MESSAGE_LEASE_MARGIN_S),
        }
        command = [sys.executable, "-m", "dispatcher", "worker", "--child-of", str(os.getpid())]
        self.workers.append(Part(name, command, self._folder, clean_environment(ours)))
        return self.workers[-1]

    def clear(self) -> None:
        """End what still runs."""
        for part in (*self.workers, self._simulator):
            part.kill()

    def _write_numbers(self, options: Options) -> None:
        (self._folder / "token").write_text(_TOKEN, encoding="utf-8")
        rows = [
            f'[numbers.{number}]\nname = "{name}"\nwaba_id = "{_WABA}"\nmessages_per_second = {options.rate:g}\n'
            'access_token = { file = "token" }\n'
            for name, number in self.numbers.items()
        ]
        (self._folder / "numbers.toml").write_text("\n".join(rows), encoding="utf-8")


def numbers_of(options: Options) -> dict[str, str]:
    """Return the ids of the demo's numbers by their names."""
    return {f"demo-{place + 1}": str(_FIRST_NUMBER + place) for place in range(options.numbers)}


@asynccontextmanager
async def staged(options: Options) -> AsyncIterator[Scene]:
    """Start everything; on leaving, everything is ended and the folder removed, however it went.

    Raises:
        SettingsError: There is no server to run.
        QueueUnavailable: The server did not start.
        DemoError: Another part did not start.
    """
    with tempfile.TemporaryDirectory(prefix="dispatcher-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with Server(options.server, options=_KEPT) as server:
            scene = Scene(options, folder, server)
            try:
                await scene.wait_for_simulator()
                for _ in range(options.workers):
                    scene.start_worker()
                yield scene
            finally:
                scene.clear()


def _start_simulator(options: Options, folder: Path) -> Part:
    flags = ["--port", "0", "--token", _TOKEN, "--rate", f"{options.rate:g}", "--latency-ms", f"{LATENCY_S * 1000:g}"]
    flags += ["--seed", _SEED]
    for name, chance in _FAULTS.items():
        flags += ["--fault", f"{name}={chance}"]
    for number in numbers_of(options).values():
        flags += ["--number", number]
    command = [sys.executable, "-m", "dispatcher.simulator", *flags]
    simulator = Part("simulator", command, folder, clean_environment())
    simulator.guard(folder)
    return simulator

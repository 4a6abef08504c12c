"""Puts the real parts on the stage and clears it, in one folder: server, simulator, webhook door, workers."""

import asyncio
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from dispatcher.lab.evidence import LATENCY_S
from dispatcher.lab.ledger import Ledger
from dispatcher.lab.options import Options
from dispatcher.lab.parts import DemoError, Part, clean_environment
from dispatcher.store.embedded import Server

HTTP_TIMEOUT_S: Final = 5.0
HTTP_TIMEOUT_URGENT_S: Final = 3.0
MESSAGE_LEASE_MARGIN_S: Final = 3.0
UNCERTAIN_WINDOW_S: Final = 2.0
UNCERTAIN_WINDOW_URGENT_S: Final = 1.0
STOP_LIMIT_S: Final = HTTP_TIMEOUT_S + 5.0
"""A worker that is asked to end may take the HTTP deadline and 5 s."""
START_LIMIT_S: Final = 15.0

_KEPT: Final = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}
_FAULTS: Final = {
    "throttle": 0.01,
    "hang_before": 0.0015,
    "hang_after": 0.0015,
    "reset_before": 0.0025,
    "reset_after": 0.0025,
}
# Statuses come after the answer to the POST, as far as there is one; some overtake each other, some come twice.
_WEBHOOKS: Final = {
    "sent_ms": LATENCY_S * 1000 + 100,
    "delivered_ms": LATENCY_S * 1000 + 300,
    "read_ms": LATENCY_S * 1000 + 1000,
    "jitter_ms": 100,
    "is_shuffled": True,
    "read": 0.6,
    "duplicates": 0.05,
}
_DOOR_PATH: Final = "/webhooks/whatsapp"
# In a run of the default size it brings about as many faults as the chances promise.
_SEED: Final = "28"
_TOKEN: Final = "demo-token"  # noqa: S105 - opens nothing but the simulator of this run
_FIRST_NUMBER: Final = 106540352242922
_WABA: Final = "102290129340398"
_POLL_S: Final = 0.02


class Scene:
    """What runs. `numbers` are the ids of the numbers by their names; `door` is the process that takes webhooks."""

    def __init__(self, options: Options, folder: Path, server: Server) -> None:
        self.server = server
        self.simulator_url = ""
        self.numbers = numbers_of(options)
        self.workers: list[Part] = []
        self._folder = folder
        self._secret, self._verify_token = secrets.token_hex(16), secrets.token_hex(8)
        self._write_numbers(options)
        self._simulator = _start_simulator(options, folder)
        self.door = self._start_door()

    async def wait_for_simulator(self) -> None:
        """Learn where the simulator listens.

        Raises:
            DemoError: It ended, or says nothing.
        """
        self.simulator_url = await _said_by(self._simulator, _url_of_simulator)

    async def connect_webhooks(self, ledger: Ledger) -> None:
        """Have the simulator send its webhooks to the door, signed.

        Raises:
            DemoError: The door ended, says nothing, or knows no challenge.
        """
        url = await _said_by(self.door, _url_of_door) + _DOOR_PATH
        await ledger.send_webhooks(self._verify_token, url=url, secret=self._secret, **_WEBHOOKS)

    def start_worker(self) -> Part:
        """Start one more worker; it ends by itself should this process be gone."""
        name = f"worker-{len(self.workers) + 1}"
        ours = self._settings() | {
            "GRAPH_URL": self.simulator_url,
            "NUMBERS_FILE": str(self._folder / "numbers.toml"),
            "HTTP_TIMEOUT_S": str(HTTP_TIMEOUT_S),
            "HTTP_TIMEOUT_URGENT_S": str(HTTP_TIMEOUT_URGENT_S),
            "MESSAGE_LEASE_MARGIN_S": str(MESSAGE_LEASE_MARGIN_S),
        }
        command = [sys.executable, "-m", "dispatcher", "worker", "--child-of", str(os.getpid())]
        self.workers.append(Part(name, command, self._folder, clean_environment(ours)))
        return self.workers[-1]

    def clear(self) -> None:
        """End what still runs."""
        for part in (*self.workers, self._simulator, self.door):
            part.kill()

    def _start_door(self) -> Part:
        ours = {"APP_SECRETS": self._secret, "WEBHOOK_VERIFY_TOKEN": self._verify_token}
        command = [sys.executable, "-m", "dispatcher", "api", "--host", "127.0.0.1", "--port", "0", "--json"]
        door = Part("api", command, self._folder, clean_environment(self._settings() | ours))
        door.guard(self._folder)
        return door

    def _settings(self) -> dict[str, str]:
        """Return what the processes of a cell have in common."""
        return {
            "REDIS_URL": self.server.url,
            "METRICS_PORT": "0",
            "UNCERTAIN_WINDOW_S": str(UNCERTAIN_WINDOW_S),
            "UNCERTAIN_WINDOW_URGENT_S": str(UNCERTAIN_WINDOW_URGENT_S),
        }

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
    command = [sys.executable, "-m", "dispatcher", "simulator", *flags]
    simulator = Part("simulator", command, folder, clean_environment())
    simulator.guard(folder)
    return simulator


async def _said_by(part: Part, read: Callable[[str], str]) -> str:
    """Wait until a part has said what is asked for."""
    started_at = time.monotonic()
    while not (found := read(part.said)):
        part.fail_if_ended()
        if time.monotonic() - started_at > START_LIMIT_S:
            raise DemoError(f"{part.name} does not start")
        await asyncio.sleep(_POLL_S)
    return found


def _url_of_simulator(said: str) -> str:
    return said.rsplit(maxsplit=1)[-1] if said.endswith("\n") else ""


def _url_of_door(said: str) -> str:
    """Return the URL from the one line that is an answer; the others are the log."""
    whole = said.splitlines() if said.endswith("\n") else said.splitlines()[:-1]
    return next((str(json.loads(line)["url"]) for line in whole if line.startswith('{"url"')), "")

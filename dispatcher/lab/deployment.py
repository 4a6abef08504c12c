"""A whole deployment on this machine: server, simulator, API and workers, real processes in one folder.

The functions start one process each, for those who need no whole deployment.
"""

import asyncio
import json
import os
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dispatcher import errors
from dispatcher.lab.evidence import LATENCY_S
from dispatcher.lab.processes import LabError, Process, clean_environment
from dispatcher.lab.simulator import SimulatorClient
from dispatcher.store.embedded import Server

HTTP_TIMEOUT_S: Final = 5.0
HTTP_TIMEOUT_URGENT_S: Final = 3.0
MESSAGE_LEASE_MARGIN_S: Final = 3.0
UNCERTAIN_WINDOW_S: Final = 2.0
UNCERTAIN_WINDOW_URGENT_S: Final = 1.0
STOP_LIMIT_S: Final = HTTP_TIMEOUT_S + 5.0
"""A worker that is asked to end may take the HTTP deadline and 5 s."""
START_LIMIT_S: Final = 120.0
"""Only so that nobody waits for ever: on a busy machine processes take their time to start."""
WEBHOOK_PATH: Final = "/webhooks/whatsapp"

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
# In a run of the default size it brings about as many faults as the chances promise.
_SEED: Final = "28"
_TOKEN: Final = "demo-token"  # noqa: S105 - opens nothing but the simulator of this run
_FIRST_NUMBER: Final = 106540352242922
_WABA: Final = "102290129340398"
_POLL_S: Final = 0.02
_MOST: Final = {"messages": 1_000_000, "numbers": 100, "workers": 16}
# Beside the campaign's own time: the takeover, the leases of what the killed worker had in flight, and what it takes to
# resolve the uncertain, up to the last look at them after eight windows.
_REST_S: Final = 50.0


@dataclass(frozen=True, slots=True)
class Options:
    """How large a run is and how it is shown; `rate` is in messages a second and number.

    `server` is a redis-server to run instead of the embedded one.

    Raises:
        SettingsError: A size is out of its range.
    """

    messages: int = 2000
    numbers: int = 3
    rate: float = 80
    workers: int = 2
    server: Path | None = None
    json: bool = False

    def __post_init__(self) -> None:
        problems = [
            f"--{name}: {getattr(self, name)} is wrong; give a whole number from 1 to {most}"
            for name, most in _MOST.items()
            if not 1 <= getattr(self, name) <= most
        ]
        if not 1 <= self.rate <= 1000:
            problems.append(f"--rate: {self.rate:g} is wrong; give messages a second from 1 to 1000")
        if problems:
            raise errors.SettingsError(tuple(problems))

    @property
    def limit_s(self) -> float:
        """Seconds after which the demo judges what there is: twice what the campaign needs, and the rest."""
        return 2 * self.messages / (self.numbers * self.rate) + _REST_S

    @property
    def names(self) -> dict[str, str]:
        """The names of the numbers by their ids."""
        return {str(_FIRST_NUMBER + place): f"demo-{place + 1}" for place in range(self.numbers)}


def start_worker(name: str, folder: Path, settings: Mapping[str, str], *flags: str) -> Process:
    """Start `dispatcher worker` with these settings (names without prefix)."""
    return Process(name, _command("worker", *flags), folder, clean_environment(settings))


def start_api(name: str, folder: Path, settings: Mapping[str, str]) -> Process:
    """Start `dispatcher api` on a free port of loopback; `url_of` says where it listens."""
    command = _command("api", "--host", "127.0.0.1", "--port", "0", "--json")
    return Process(name, command, folder, clean_environment({"METRICS_PORT": "0", **settings}))


def start_simulator(name: str, folder: Path, *flags: str) -> Process:
    """Start `dispatcher simulator` on a free port of loopback; `url_of` says where it listens."""
    return Process(name, _command("simulator", "--port", "0", *flags), folder, clean_environment())


async def url_of(process: Process) -> str:
    """Wait until an API or a simulator says where it listens, and return that URL.

    Raises:
        LabError: It ended, or says nothing.
    """
    started_at = time.monotonic()
    while not (found := _url_in(process.logged)):
        process.check()
        if time.monotonic() - started_at > START_LIMIT_S:
            raise LabError(f"{process.name} does not start")
        await asyncio.sleep(_POLL_S)
    return found


def write_numbers(folder: Path, names: Mapping[str, str], *, rate: float, waba: str, token: str) -> Path:
    """Write a numbers file for numbers with these ids and names, which share a token; where it is."""
    (folder / "token").write_text(token, encoding="utf-8")
    rows = (
        f'[numbers.{number}]\nname = "{name}"\nwaba_id = "{waba}"\nmessages_per_second = {rate:g}\n'
        'access_token = { file = "token" }\n'
        for number, name in names.items()
    )
    path = folder / "numbers.toml"
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


class Deployment:
    """What runs: `api` takes the webhooks of `simulator`, `workers` grow by `start_worker`."""

    def __init__(self, options: Options, folder: Path, server: Server) -> None:
        self.server = server
        self.numbers = list(options.names)
        self.workers: list[Process] = []
        self._folder = folder
        self._secret, self._verify_token = secrets.token_hex(16), secrets.token_hex(8)
        self._numbers_file = write_numbers(folder, options.names, rate=options.rate, waba=_WABA, token=_TOKEN)
        self._simulating = start_simulator("simulator", folder, *_simulator_flags(options))
        self._simulating.guard(folder)
        webhooks = {"APP_SECRETS": self._secret, "WEBHOOK_VERIFY_TOKEN": self._verify_token}
        self.api = start_api("api", folder, self._settings() | webhooks)
        self.api.guard(folder)
        self.simulator = SimulatorClient("")

    async def find_simulator(self) -> None:
        """Learn where the simulator listens; raises `LabError` if it ended, or says nothing."""
        self.simulator = SimulatorClient(await url_of(self._simulating))

    async def connect_webhooks(self) -> None:
        """Have the simulator send its webhooks to the API, signed.

        Raises:
            LabError: The API ended, says nothing, or knows no challenge.
        """
        url = await url_of(self.api) + WEBHOOK_PATH
        await self.simulator.send_webhooks(self._verify_token, url=url, secret=self._secret, **_WEBHOOKS)

    def start_worker(self) -> Process:
        """Start one more worker; it ends by itself should this process be gone."""
        settings = self._settings() | {
            "GRAPH_URL": self.simulator.url,
            "NUMBERS_FILE": str(self._numbers_file),
            "HTTP_TIMEOUT_S": str(HTTP_TIMEOUT_S),
            "HTTP_TIMEOUT_URGENT_S": str(HTTP_TIMEOUT_URGENT_S),
            "MESSAGE_LEASE_MARGIN_S": str(MESSAGE_LEASE_MARGIN_S),
        }
        name = f"worker-{len(self.workers) + 1}"
        self.workers.append(start_worker(name, self._folder, settings, "--child-of", str(os.getpid())))
        return self.workers[-1]

    def kill(self) -> None:
        """End what still runs."""
        for process in (*self.workers, self._simulating, self.api):
            process.kill()

    def _settings(self) -> dict[str, str]:
        """Return what the processes of a cell have in common."""
        return {
            "REDIS_URL": self.server.url,
            "METRICS_PORT": "0",
            "UNCERTAIN_WINDOW_S": str(UNCERTAIN_WINDOW_S),
            "UNCERTAIN_WINDOW_URGENT_S": str(UNCERTAIN_WINDOW_URGENT_S),
        }


@asynccontextmanager
async def deployed(options: Options) -> AsyncIterator[Deployment]:
    """Start everything; on leaving, everything is ended and the folder removed, however it went.

    Raises:
        SettingsError: There is no server to run.
        QueueUnavailable: The server did not start.
        LabError: Another process did not start.
    """
    with tempfile.TemporaryDirectory(prefix="dispatcher-demo-", ignore_cleanup_errors=True) as name:
        async with Server(options.server, options=_KEPT) as server:
            deployment = Deployment(options, Path(name), server)
            try:
                await deployment.find_simulator()
                for _ in range(options.workers):
                    deployment.start_worker()
                yield deployment
            finally:
                deployment.kill()


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "dispatcher", *words]


def _simulator_flags(options: Options) -> list[str]:
    flags = ["--token", _TOKEN, "--rate", f"{options.rate:g}", "--latency-ms", f"{LATENCY_S * 1000:g}"]
    flags += ["--seed", _SEED]
    for name, chance in _FAULTS.items():
        flags += ["--fault", f"{name}={chance}"]
    for number in options.names:
        flags += ["--number", number]
    return flags


def _url_in(logged: str) -> str:
    """Return the URL that a process has said, in its one line of JSON or of words; the other lines are its log."""
    whole = logged.splitlines() if logged.endswith("\n") else logged.splitlines()[:-1]
    return next(filter(None, map(_url_of_line, whole)), "")


def _url_of_line(line: str) -> str:
    if line.startswith('{"url"'):
        return str(json.loads(line)["url"])
    return line.rpartition(" ")[2] if line.startswith("listening on ") else ""

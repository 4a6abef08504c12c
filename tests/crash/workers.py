"""Worker processes for tests that kill, stop and cut: real ones, as the command starts them."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.cell import Cell, eventually
from tests.servers import PATIENCE_S

# Short enough to wait for, and so short that a busy machine may take longer: for tests in which that changes nothing.
SHORT: dict[str, Any] = {
    "http_timeout_s": 1.5,
    "http_timeout_urgent_s": 1.0,
    "claim_to_post_s": 0.5,
    "message_lease_margin_s": 1.0,
    "redis_timeout_s": 1.0,
}
# For tests in which every answer must be heard.
PATIENT: dict[str, Any] = {
    "http_timeout_s": 60.0,
    "http_timeout_urgent_s": 60.0,
    "claim_to_post_s": 1.0,
    "message_lease_margin_s": 60.0,
    "redis_timeout_s": 2.0,
}
OTHERS = ("number_lease_s", "uncertain_window_s", "uncertain_window_urgent_s")


class WorkerProcess:
    """One `dispatcher worker`, its log, and the signals it gets."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self.log = log

    @property
    def pid(self) -> int:
        return self.process.pid

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self, within_s: float = PATIENCE_S) -> int:
        """Wait for its end; the exit code."""
        return await asyncio.to_thread(self.process.wait, within_s)


def environment(cell: Cell) -> dict[str, str]:
    """What a worker of the cell is started with."""
    settings = cell.settings
    given = {
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "CELL": settings.cell,
        "GRAPH_URL": settings.graph_url,
        "NUMBERS_FILE": str(cell.numbers_file),
        "METRICS_PORT": "0",
        **{name.upper(): str(getattr(settings, name)) for name in (*SHORT, *OTHERS)},
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DISPATCHER_")}
    return clean | {f"DISPATCHER_{name}": value for name, value in given.items()}


@contextlib.asynccontextmanager
async def workers(cell: Cell, count: int, *options: str) -> AsyncIterator[list[WorkerProcess]]:
    """Run worker processes; those that are left at the end are killed."""
    started = [_start(cell, index, options) for index in range(count)]
    try:
        await _all_serving(cell, count)
        yield started
    finally:
        for worker in started:
            if worker.process.poll() is None:
                worker.process.kill()
            worker.process.wait()


def _start(cell: Cell, index: int, options: tuple[str, ...]) -> WorkerProcess:
    log = cell.numbers_file.parent / f"worker-{index}.log"
    with log.open("wb") as out:
        command = [sys.executable, "-m", "dispatcher", "worker", *options]
        return WorkerProcess(subprocess.Popen(command, env=environment(cell), stderr=out, stdout=out), log)


async def _all_serving(cell: Cell, count: int) -> None:
    async def all_there() -> bool:
        return int(await cell.redis.zcard(f"{cell.prefix}processes")) >= count

    try:
        await eventually(all_there)
    except TimeoutError:
        logs = "\n".join(path.read_text() for path in sorted(cell.numbers_file.parent.glob("worker-*.log")))
        raise AssertionError(f"workers did not start: {logs}") from None

"""Worker processes of a cell for tests that kill, stop and cut: real ones, as the command starts them."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from dispatcher.lab.deployment import start_worker
from dispatcher.lab.processes import Process, clean_environment
from tests.cell import Cell, eventually

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


def settings_of(cell: Cell) -> dict[str, str]:
    """What a worker of the cell is started with, names without prefix."""
    settings = cell.settings
    return {
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "CELL": settings.cell,
        "GRAPH_URL": settings.graph_url,
        "NUMBERS_FILE": str(cell.numbers_file),
        "METRICS_PORT": "0",
        **{name.upper(): str(getattr(settings, name)) for name in (*SHORT, *OTHERS)},
    }


def environment(cell: Cell) -> dict[str, str]:
    """The environment of a process of the cell, for those who start it themselves."""
    return clean_environment(settings_of(cell))


@contextlib.asynccontextmanager
async def workers(cell: Cell, count: int, *flags: str) -> AsyncIterator[list[Process]]:
    """Run worker processes; those that are left at the end are killed."""
    folder, settings = cell.numbers_file.parent, settings_of(cell)
    started = [start_worker(f"worker-{index}", folder, settings, *flags) for index in range(count)]
    try:
        await _all_serving(cell, started)
        yield started
    finally:
        for worker in started:
            worker.kill()


async def _all_serving(cell: Cell, started: list[Process]) -> None:
    async def all_there() -> bool:
        for worker in started:
            worker.check()
        return int(await cell.redis.zcard(f"{cell.prefix}processes")) >= len(started)

    try:
        await eventually(all_there)
    except TimeoutError:
        logs = "\n".join(worker.logged for worker in started)
        raise AssertionError(f"workers did not start: {logs}") from None

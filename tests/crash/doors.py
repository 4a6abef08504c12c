"""API processes of a cell for tests: real ones, as the command starts them; a simulator sends its webhooks there."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from dispatcher.lab.deployment import WEBHOOK_PATH, start_api, url_of
from dispatcher.lab.processes import Process
from tests.cell import Cell, eventually

SECRET = "webhook-secret"


@contextlib.asynccontextmanager
async def door(cell: Cell, **webhooks: Any) -> AsyncIterator[Process]:
    """Run `dispatcher api` for a cell; the simulator sends webhooks to it that behave as said.

    Its first beat marks a gap, and is over when this yields: what is sent from then on is after the gap.
    """
    settings = {
        "REDIS_URL": cell.settings.redis_url.get_secret_value(),
        "CELL": cell.settings.cell,
        "APP_SECRETS": SECRET,
    }
    started_s, _ = await cell.redis.time()
    api = start_api("api", cell.numbers_file.parent, settings)
    try:
        url = await url_of(api)
        await eventually(lambda: _has_beaten(cell, int(started_s) * 1_000_000))
        cell.simulator.webhooks.change(url=url + WEBHOOK_PATH, secret=SECRET, **webhooks)
        yield api
    finally:
        cell.simulator.webhooks.change(url=None)
        api.kill()


async def _has_beaten(cell: Cell, since_us: int) -> bool:
    return int(await cell.redis.hget(f"{cell.prefix}door", "seen") or 0) >= since_us

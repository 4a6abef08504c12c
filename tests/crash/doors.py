"""API processes for tests: real ones, as the command starts them, with a simulator that sends its webhooks there."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

from tests.cell import Cell, eventually

SECRET = "webhook-secret"


@contextlib.asynccontextmanager
async def door(cell: Cell, **webhooks: Any) -> AsyncIterator["subprocess.Popen[bytes]"]:
    """Run `dispatcher api` for a cell; the simulator sends webhooks to it that behave as said.

    Its first beat marks a gap, and is over when this yields: what is sent from then on is after the gap.
    """
    log = cell.numbers_file.parent / "api.log"
    given = {
        "REDIS_URL": cell.settings.redis_url.get_secret_value(),
        "CELL": cell.settings.cell,
        "APP_SECRETS": SECRET,
        "METRICS_PORT": "0",
    }
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DISPATCHER_")}
    environment = clean | {f"DISPATCHER_{name}": value for name, value in given.items()}
    command = [sys.executable, "-m", "dispatcher", "api", "--port", "0", "--json"]
    started_s, _ = await cell.redis.time()
    with log.open("wb") as errors:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors)
    try:
        assert process.stdout is not None
        said = await asyncio.to_thread(process.stdout.readline)
        assert said, f"the door says nothing: {log.read_text()}"
        url = json.loads(said)["url"]
        await eventually(lambda: _has_beaten(cell, int(started_s) * 1_000_000))
        cell.simulator.webhooks.change(url=f"{url}/webhooks/whatsapp", secret=SECRET, **webhooks)
        yield process
    finally:
        cell.simulator.webhooks.change(url=None)
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


async def _has_beaten(cell: Cell, since_us: int) -> bool:
    return int(await cell.redis.hget(f"{cell.prefix}door", "seen") or 0) >= since_us

"""API processes for tests: real ones, as the command starts them, with a simulator that sends its webhooks there."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

from tests.cell import Cell

SECRET = "webhook-secret"
_START_LIMIT_S = 15.0


@contextlib.asynccontextmanager
async def door(cell: Cell, **webhooks: Any) -> AsyncIterator["subprocess.Popen[bytes]"]:
    """Run `dispatcher api` for a cell; the simulator sends webhooks to it that behave as said."""
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
    with log.open("wb") as errors:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors)
    try:
        assert process.stdout is not None
        said = await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), _START_LIMIT_S)
        assert said, f"the door says nothing: {log.read_text()}"
        url = json.loads(said)["url"]
        cell.simulator.webhooks.change(url=f"{url}/webhooks/whatsapp", secret=SECRET, **webhooks)
        yield process
    finally:
        cell.simulator.webhooks.change(url=None)
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()

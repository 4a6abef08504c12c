"""A Prometheus of the test's own: started on a free port, asked over HTTP, stopped."""

import asyncio
import contextlib
import re
import subprocess
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.cell import eventually
from tests.grafana.files import RULES
from tests.servers import PATIENCE_S, free_ports


@dataclass(frozen=True)
class Tools:
    """Where Prometheus and promtool are."""

    prometheus: str
    promtool: str


class Refused(Exception):
    """Prometheus does not take an expression."""


@dataclass(frozen=True)
class Prometheus:
    """A Prometheus that runs."""

    http: httpx.AsyncClient
    log: Path

    async def ask(self, expr: str) -> list[dict[str, Any]]:
        """Evaluate an expression now.

        Raises:
            Refused: It cannot be evaluated.
        """
        answer = (await self.http.post("/api/v1/query", data={"query": expr})).json()
        if answer["status"] != "success":
            raise Refused(answer["error"])
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    async def get(self, path: str) -> Any:
        return (await self.http.get(path)).json()["data"]


def quick_rules(folder: Path) -> list[str]:
    """Our rules, evaluated every second however rarely they are otherwise."""
    paths = []
    for path in RULES:
        copied = folder / path.name
        copied.write_text(re.sub(r"^    interval: .*$", "    interval: 1s", path.read_text(), flags=re.MULTILINE))
        paths.append(str(copied))
    return paths


@contextlib.asynccontextmanager
async def scraping(tools: Tools, folder: Path, jobs: Mapping[str, list[int]]) -> AsyncIterator[Prometheus]:
    """Run a Prometheus that scrapes each of these ports every second."""
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": quick_rules(folder),
        "scrape_configs": [
            {
                "job_name": name,
                "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports], "labels": {"cell": "test"}}],
            }
            for name, ports in jobs.items()
        ],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    (port,) = free_ports(1)
    log = folder / "prometheus.log"
    command = [
        tools.prometheus,
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=PATIENCE_S) as http:
            await _ready(http, process, log)
            yield Prometheus(http, log)
    finally:
        process.terminate()
        try:
            await asyncio.to_thread(process.wait, PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _ready(http: httpx.AsyncClient, process: "subprocess.Popen[bytes]", log: Path) -> None:
    async def ready() -> bool:
        assert process.poll() is None, log.read_text()
        with contextlib.suppress(httpx.TransportError):
            return (await http.get("/-/ready")).status_code == 200
        return False

    await eventually(ready)

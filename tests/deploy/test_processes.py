"""The base's containers as real processes: with the variables Kubernetes could inject, and asked by their own probes."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis.asyncio import Redis

from dispatcher import Dispatcher
from dispatcher.errors import UnknownNumber
from dispatcher.settings import PREFIX
from dispatcher.simulator import Simulator
from dispatcher.store.embedded import Server
from tests.cell import OTP, TOKEN, eventually, write_numbers
from tests.deploy.conftest import Image
from tests.deploy.papers import BASE, SECRETS, Manifest, Workload, injected, manifests, of_kind, ports_of, workloads
from tests.servers import PATIENCE_S, closed_port, free_ports

PODS = workloads()
SERVICES = {name: ports_of(service) for name, service in of_kind("Service", manifests(BASE)).items()}
WORST = {
    "dispatcher": {"http": 8000, "metrics": 9464},
    "dispatcher-api": {"http": 8000},
    "dispatcher-metrics": {"metrics": 9464},
    "dispatcher-redis": {"redis-url": 6379},
}
"""Services that others may have called so in the namespace; with links their variables would be in our pods."""


@dataclass(frozen=True)
class Place:
    """Where the containers run here: what stands for the cluster's Redis, Graph, Secrets and ports."""

    image: Image
    folder: Path
    redis_url: str
    graph_url: str

    def files(self) -> None:
        write_numbers(self.folder)
        (self.folder / "redis-url").write_text(self.redis_url)
        (self.folder / "app-secrets").write_text("an-app-secret\n")
        (self.folder / "webhook-verify-token").write_text("a-verify-token\n")


@dataclass(frozen=True)
class Running:
    """One container, its process, and which of our ports stands for which of its own."""

    pod: Workload
    process: "subprocess.Popen[bytes]"
    ports: Mapping[int, int]
    log: Path
    path: str

    def passes(self, probe: Manifest) -> bool:
        """Do what the kubelet does; the process is still there, or this is a failure at once."""
        assert self.process.poll() is None, self.log.read_text()
        if "exec" in probe:
            command = [self._own(word) for word in probe["exec"]["command"]]
            return subprocess.run(command, env={"PATH": self.path}, check=False, capture_output=True).returncode == 0
        asked = probe.get("httpGet") or probe["tcpSocket"]
        port = self.ports[self.pod.ports[asked["port"]]]
        try:
            if "path" not in asked:
                socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S).close()
                return True
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{asked['path']}", timeout=PATIENCE_S) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _own(self, text: str) -> str:
        return re.sub(r"\b(8000|9464)\b", lambda match: str(self.ports[int(match[1])]), text)

    async def ready(self) -> None:
        """Wait until every probe passes."""

        async def asked() -> bool | None:
            results = [await asyncio.to_thread(self.passes, probe) for probe in self.pod.probes.values()]
            return all(results) or None

        try:
            await eventually(asked)
        except TimeoutError:
            raise AssertionError(f"the probes do not pass: {self.log.read_text()}") from None

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, PATIENCE_S)


@contextlib.asynccontextmanager
async def container(place: Place, name: str) -> AsyncIterator[Running]:
    """Start what a Deployment says, with every variable a Service could bring; what the pod gives goes over them."""
    pod = PODS[name]
    ports = dict(zip(pod.ports.values(), free_ports(len(pod.ports)), strict=True))
    path = f"{place.image.commands}:{os.environ['PATH']}"
    environ = {"PATH": path}
    for service, of in {**SERVICES, **WORST}.items():
        environ |= injected(service, of)
    assert f"{PREFIX}API_PORT" in environ
    assert f"{PREFIX}METRICS_PORT" in environ
    for variable, value in pod.environment.items():
        text = str(ports.get(int(value), value)) if variable.endswith("_PORT") else value
        environ[variable] = re.sub(f"^({SECRETS}|/etc/dispatcher)/", f"{place.folder}/", text)
    environ |= {f"{PREFIX}GRAPH_URL": place.graph_url}
    log = place.folder / f"{name}.log"
    with log.open("wb") as out:
        command = [str(place.image.commands / "dispatcher"), *pod.container["args"]]
        process = subprocess.Popen(command, env=environ, stdout=out, stderr=out, cwd=place.folder / "empty")
    try:
        yield Running(pod, process, ports, log, path)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture
async def place(image: Image, server: Server, redis: "Redis", simulator: Simulator, tmp_path: Path) -> Place:
    (tmp_path / "empty").mkdir()
    made = Place(image, tmp_path, server.url, simulator.url)
    made.files()
    return made


async def test_a_worker_serves_in_a_namespace_full_of_services_with_our_names(
    place: Place, simulator: Simulator
) -> None:
    async with container(place, "whatsapp-worker") as worker, Dispatcher.connect(place.redis_url) as client:
        await worker.ready()
        message = {
            "number": OTP,
            "to": "+15551234567",
            "key": "k1",
            "content": {"type": "text", "text": {"body": "hi"}},
        }

        async def sent() -> bool | None:
            with contextlib.suppress(UnknownNumber):  # until the worker has made its numbers known
                return (await client.send(message)).key == "k1"
            return None

        await eventually(sent)

        async def accepted() -> bool | None:
            found = await client.status("k1")
            return (found is not None and found.state == "accepted") or None

        await eventually(accepted)
        assert await worker.stop() == 0
    assert TOKEN not in worker.log.read_text()
    assert [post["key"] for post in simulator.ledger.requests()] == ["k1"]


async def test_the_api_answers_its_probes(place: Place) -> None:
    async with container(place, "whatsapp-api") as api:
        await api.ready()
        assert await api.stop() == 0


async def test_an_api_without_redis_has_not_started_but_lives_and_listens(place: Place) -> None:
    with closed_port() as closed:
        (place.folder / "redis-url").write_text(f"redis://127.0.0.1:{closed}/0")
        async with container(place, "whatsapp-api") as api:
            probes = api.pod.probes

            async def lives() -> bool | None:
                return await asyncio.to_thread(api.passes, probes["livenessProbe"]) or None

            await eventually(lives)
            assert api.passes(probes["readinessProbe"])
            assert not api.passes(probes["startupProbe"])


async def test_the_exporter_answers_its_probes(place: Place) -> None:
    async with container(place, "whatsapp-exporter") as exporter:
        await exporter.ready()
        assert await exporter.stop() == 0

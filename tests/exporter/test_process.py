"""`dispatcher exporter` as a process: serves, waits for Redis, and ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dispatcher.store.embedded import Server
from tests.servers import PATIENCE_S, closed_port, free_ports

COMMAND = [sys.executable, "-m", "dispatcher", "exporter", "--json"]


@contextmanager
def exporter(redis_url: str, port: int, log: Path) -> Iterator["subprocess.Popen[str]"]:
    environ = {**os.environ, "DISPATCHER_REDIS_URL": redis_url, "DISPATCHER_METRICS_PORT": str(port)}
    with (
        log.open("w") as stderr,
        subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def served(port: int) -> list[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as answer:
        return list(answer.read().decode().splitlines())


def events(log: Path) -> list[str]:
    return [json.loads(line)["event"] for line in log.read_text().splitlines()]


def test_it_serves_until_it_is_told_to_stop(server: Server, tmp_path: Path) -> None:
    (port,), log = free_ports(1), tmp_path / "log"
    with exporter(server.url, port, log) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"url": f"http://0.0.0.0:{port}/metrics"}
        lines = served(port)
        assert "dispatcher_exporter_up 1.0" in lines
        assert any(line.startswith("process_resident_memory_bytes ") for line in lines)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    assert events(log) == ["process.started", "process.stopping", "process.stopped"]


def test_it_starts_without_redis_and_says_so_once(tmp_path: Path) -> None:
    (port,), log = free_ports(1), tmp_path / "log"
    with closed_port() as closed, exporter(f"redis://127.0.0.1:{closed}/0", port, log) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(2):
            assert "dispatcher_exporter_up 0.0" in served(port)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
    assert events(log) == ["process.started", "redis.lost", "process.stopping", "process.stopped"]


def test_without_a_port_or_with_one_that_is_taken_it_ends_with_1(server: Server, tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        for port, problem in ((0, "0 serves nothing"), (taken.getsockname()[1], "Address already in use")):
            with exporter(server.url, port, tmp_path / "log") as process:
                out, _ = process.communicate(timeout=PATIENCE_S)
                assert process.returncode == 1
            told = json.loads(out)
            assert told["ended"] == "settings"
            assert problem in told["error"]

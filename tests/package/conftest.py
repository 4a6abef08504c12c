"""The wheel, and environments that hold it and what it needs, and no more: with the oldest and the newest redis-py."""

import json
import subprocess
import sys
import venv
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.servers import PATIENCE_S, MadeOnce

ROOT = Path(__file__).parents[2]
PRODUCER = Path(__file__).with_name("producer.py")
REQUIREMENTS = {"redis 5.3": "client-redis5.txt", "redis 8": "client-redis8.txt"}


@dataclass(frozen=True)
class Client:
    """An environment of a producer."""

    python: Path

    def run(self, scenario: str, url: str, **options: object) -> Any:
        """Play a scenario of producer.py against a server; what it saw."""
        command: list[str | Path] = [self.python, "-I", PRODUCER, scenario, url, json.dumps(options)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)


def pip(python: Path, *arguments: str | Path) -> None:
    """Install with the suite's own pip: to put one into each environment would take longer than all else."""
    options = ("--disable-pip-version-check", "install", "--no-compile")
    command: list[str | Path] = [sys.executable, "-m", "pip", "--python", python, *options, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=5 * PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr


def installed(folder: Path, requirements: str, wheel: Path) -> None:
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    pip(python, "--require-hashes", "-r", ROOT / "requirements" / requirements)
    pip(python, "--no-deps", wheel)


@pytest.fixture(scope="session")
def wheel(made_once: MadeOnce) -> Path:
    (found,) = made_once("wheel", _build).iterdir()
    return found


def _build(folder: Path) -> None:
    command: list[str | Path] = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def clients(wheel: Path, made_once: MadeOnce) -> Mapping[str, Client]:
    def install(folder: Path) -> None:
        with ThreadPoolExecutor() as pool:
            for done in [pool.submit(installed, folder / file, file, wheel) for file in REQUIREMENTS.values()]:
                done.result()

    folder = made_once("clients", install)
    return {name: Client(folder / file / "bin" / "python") for name, file in REQUIREMENTS.items()}


@pytest.fixture(params=REQUIREMENTS)
def client(request: pytest.FixtureRequest, clients: Mapping[str, Client]) -> Client:
    return clients[request.param]

"""What the Dockerfile would put into the image, made without Docker, and the secrets that `prepare` makes."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dispatcher.simulator import SimulatedNumber, Simulator, SimulatorSettings
from tests.cell import OTP, TOKEN, UNPACED
from tests.deploy.dockerfile import Instruction, instructions
from tests.deploy.papers import BASE, DEPLOY, ROOT
from tests.servers import MadeOnce


@dataclass(frozen=True)
class Image:
    """What is at /opt/dispatcher of the image."""

    folder: Path

    @property
    def commands(self) -> Path:
        return self.folder / "bin"


@pytest.fixture(scope="session")
def image(made_once: MadeOnce) -> Image:
    """Follow the first stage of the Dockerfile, with folders below a temporary one in the place of those of the root."""
    return Image(made_once("image", _build) / "opt" / "dispatcher")


def _build(root: Path) -> None:
    for step in instructions(DEPLOY / "Dockerfile"):
        if step.word == "FROM" and step.stage > 0:
            break
        _follow(step, root)


def _follow(step: Instruction, root: Path) -> None:
    here = root / "src"
    if step.word == "COPY":
        *sources, target = step.text.split()
        for source in sources:
            is_folder = (ROOT / source).is_dir()
            to = here / target if is_folder or not target.endswith("/") else here / target / Path(source).name
            to.parent.mkdir(parents=True, exist_ok=True)
            if is_folder:
                shutil.copytree(ROOT / source, to, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
            else:
                shutil.copy(ROOT / source, to)
    elif step.word == "RUN":
        script = re.sub(r"(?<![\w.-])/(build|opt|wheel)\b", rf"{root}/\1", step.text)
        script = script.replace("python -m venv", f"{sys.executable} -m venv").replace("--no-cache-dir", "")
        quick = os.environ | {"PIP_COMPILE": "0"}  # bytecode takes half of the time
        done = subprocess.run(
            ["/bin/sh", "-ec", script], cwd=here, env=quick, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A copy of what `prepare` needs, after it ran."""
    folder = tmp_path / "deploy"
    for path in (DEPLOY / "prepare", DEPLOY / "env.example", BASE / "numbers.example.toml"):
        to = folder / path.relative_to(DEPLOY)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to)
    subprocess.run([folder / "prepare"], check=True, capture_output=True)
    return folder


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(
        SimulatorSettings(numbers={OTP: SimulatedNumber(token=TOKEN, rate=UNPACED)}, token=TOKEN)
    ).serving() as running:
        yield running

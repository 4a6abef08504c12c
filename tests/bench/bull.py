"""BullMQ with undici, where node and npm are at hand: installed into a folder outside this tree, and run from there."""

import asyncio
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from dispatcher.lab.processes import Process, clean_environment
from dispatcher.message.message import Message, body
from tests.bench.harness import NUMBER, TOKEN, Rig, message

_HERE = Path(__file__).parent / "bullmq"
_FILES = ("package.json", "package-lock.json", "bull.mjs")
_INSTALL_LIMIT_S = 120.0
# Nothing that is downloaded is run while it is installed; BullMQ and undici need none of it.
_INSTALL = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


class Missing(Exception):
    """BullMQ cannot take part; says why."""


def install(folder: Path) -> Path:
    """Put the script and what it needs into `folder`, and return it.

    Raises:
        Missing: there is no node or npm, or npm could not install what the lock file names.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise Missing("no node" if node is None else "no npm")
    for name in _FILES:
        shutil.copy(_HERE / name, folder / name)
    try:
        done = subprocess.run(
            [npm, *_INSTALL], cwd=folder, capture_output=True, text=True, timeout=_INSTALL_LIMIT_S, check=False
        )
    except (subprocess.TimeoutExpired, OSError) as exc:
        raise Missing(f"npm ci: {type(exc).__name__}") from exc
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("npm error")]
        raise Missing(f"npm ci failed: {' '.join(said[:2])[:200]}")
    return folder


def _start(name: str, installed: Path, it: Rig, arguments: list[str]) -> Process:
    command = [shutil.which("node") or "node", str(installed / "bull.mjs"), *arguments]
    return Process(name, command, it.folder, clean_environment(), is_piped=True)


def _port(it: Rig) -> str:
    return str(urlsplit(it.server.url).port)


async def enqueue(installed: Path, it: Rig, count: int) -> None:
    """Queue the jobs, each with the body that is to be posted."""
    prepared = body(Message.parse(message("bull", 1, "bulk"), default_key=None)).decode()
    arguments = ["enqueue", _port(it), str(count), prepared]
    with _start("bull-enqueue", installed, it, arguments) as child:
        await asyncio.to_thread(child.line)


def worker(installed: Path, it: Rig, count: int, in_flight: int) -> Process:
    """Start a worker process, which says when it is ready."""
    target = f"{it.cloud.url}/v25.0/{NUMBER}/messages"
    arguments = ["work", _port(it), str(count), str(in_flight), target, TOKEN]
    return _start("bull-worker", installed, it, arguments)

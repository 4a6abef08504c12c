"""Looks at the cell for the threads that serve scrapes: in the event loop, one look at a time, at most one a second."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Final

from dispatcher.exporter.look import TIMEOUT_S, Look

FRESH_S: Final = 1.0
_LOOP_PATIENCE_S: Final = 1.0
"""How much longer than a look may take its answer is waited for."""


class Snapshots:
    """The latest look; `begin` starts one in the event loop."""

    def __init__(self, begin: Callable[[], "Future[Look]"], timeout_s: float = TIMEOUT_S) -> None:
        self._begin = begin
        self._patience_s = timeout_s + _LOOP_PATIENCE_S
        self._lock = threading.Lock()
        self._look = Look(0.0, None)
        self._looked_at = float("-inf")

    def latest(self) -> Look:
        """Return a look that is at most a second old; who asks meanwhile waits for the same one."""
        with self._lock:
            if time.monotonic() - self._looked_at >= FRESH_S:
                self._look = self._now()
                self._looked_at = time.monotonic()
            return self._look

    def _now(self) -> Look:
        started = time.monotonic()
        try:
            pending = self._begin()
        except RuntimeError:  # the loop has ended: the process is about to
            return Look(0.0, None)
        try:
            return pending.result(self._patience_s)
        except (TimeoutError, CancelledError):
            pending.cancel()
            return Look(time.monotonic() - started, None)

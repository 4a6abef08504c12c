"""One process of the demo: started, watched and ended by its own id. Knows nothing of what it does."""

import asyncio
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from dispatcher.errors import DispatcherError
from dispatcher.settings import PREFIX
from dispatcher.store.embedded import GUARD

_POLL_S: Final = 0.005
_QUOTED_LINES: Final = 5


class DemoError(DispatcherError):
    """The demo could not be played; this says nothing about the promises."""


def clean_environment(ours: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment without the developer's settings, and with `ours` (names without prefix)."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    return kept | {PREFIX + name: value for name, value in (ours or {}).items()}


class Part:
    """A process that writes to `<name>.log` in `folder`, where it also runs: there is no `.env` to be found."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, environ: Mapping[str, str]) -> None:
        self.name = name
        self._log = folder / f"{name}.log"
        with self._log.open("wb") as log:
            # a session of its own: an interrupt from the keyboard is for the demo, which then ends its parts in order
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                command,
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """What it ended with; None while it runs."""
        return self._process.poll()

    @property
    def said(self) -> str:
        """What it has written so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def guard(self, folder: Path) -> None:
        """Should this process be killed, so is the part, and `folder` removed."""
        self._guard = subprocess.Popen(  # noqa: S603 - nothing of it is read by the shell as a program
            ["/bin/sh", "-c", GUARD, "guard", str(self.pid), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def fail_if_ended(self) -> None:
        """See that it still runs.

        Raises:
            DemoError: It does not; its last words are quoted.
        """
        if self.code is not None:
            words = " | ".join(self.said.splitlines()[-_QUOTED_LINES:])
            raise DemoError(f"{self.name} ended with code {self.code}: {words}")

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""
        self._process.terminate()

    async def ended(self, limit_s: float) -> float | None:
        """Wait until it has ended; seconds that took, None if it runs on after `limit_s`."""
        started_at = time.monotonic()
        while self.code is None:
            if time.monotonic() - started_at > limit_s:
                return None
            await asyncio.sleep(_POLL_S)
        return time.monotonic() - started_at

    def kill(self) -> None:
        """End it at once (SIGKILL) and wait for that; does nothing if it has ended."""
        # The guard goes first: once the part is waited for, its process id may become somebody else's.
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None
        self._process.kill()
        self._process.wait()

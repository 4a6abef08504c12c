"""One process: started, watched, spoken to and ended by its own id. Knows nothing of what it does."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from dispatcher.errors import DispatcherError
from dispatcher.settings import PREFIX
from dispatcher.store.embedded import GUARD

_PATIENCE_S: Final = 300.0
"""Only so that nobody waits for ever: on a busy machine a process takes its time to end."""
_POLL_S: Final = 0.005
_QUOTED_LINES: Final = 5


class LabError(DispatcherError):
    """What was to be run could not be run; this says nothing about the promises."""


def clean_environment(settings: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment without the developer's settings, and with these (names without prefix)."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
    return kept | {PREFIX + name: value for name, value in (settings or {}).items()}


class Process:
    """A process that writes to `<name>.log` in `folder`, where it also runs: there is no `.env` to be found.

    With `is_piped` its standard input and output are pipes, for `line` and `go`, and only its errors are logged. As a
    context manager it is stopped at the end of the block.
    """

    def __init__(
        self, name: str, command: Sequence[str], folder: Path, environ: Mapping[str, str], *, is_piped: bool = False
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as log:
            # a session of its own: an interrupt from the keyboard is for us, who then end our processes in order
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                command,
                cwd=folder,
                env=environ,
                stdin=subprocess.PIPE if is_piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE if is_piped else log,
                stderr=log,
                start_new_session=True,
            )
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """What it ended with; None while it runs."""
        return self._process.poll()

    @property
    def logged(self) -> str:
        """What is in its log so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def guard(self, folder: Path) -> None:
        """Have it killed, and `folder` removed, should this process be killed."""
        self._guard = subprocess.Popen(  # noqa: S603 - nothing of it is read by the shell as a program
            ["/bin/sh", "-c", GUARD, "guard", str(self.pid), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def check(self) -> None:
        """See that it still runs.

        Raises:
            LabError: It does not; the end of its log is quoted.
        """
        if self.code is not None:
            raise LabError(f"{self.name} ended with code {self.code}: {self._last_lines()}")

    def line(self) -> str:
        """Return the next line that it prints, and wait for it.

        Raises:
            LabError: It ended without one.
        """
        line = self._process.stdout.readline() if self._process.stdout else b""
        if not line:
            raise LabError(f"{self.name} said nothing: {self._last_lines()}")
        return line.decode(errors="replace").strip()

    def go(self) -> None:
        """Tell a process that waits for a line to begin."""
        if self._process.stdin:
            self._process.stdin.write(b"go\n")
            self._process.stdin.flush()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    async def ended(self, within_s: float = _PATIENCE_S) -> int | None:
        """Wait until it has ended; its exit code, None if it runs on."""
        deadline = time.monotonic() + within_s
        while (code := self.code) is None:
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(_POLL_S)
        return code

    def stop(self, within_s: float = _PATIENCE_S) -> int:
        """Ask it to end (SIGTERM), and end it if it does not; its exit code."""
        if self.code is None:
            self.send(signal.SIGTERM)
        try:
            self._process.wait(within_s)  # its standard input stays open until it has ended
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.kill()
        return self._process.returncode

    def kill(self) -> None:
        """End it at once (SIGKILL) and wait for that; does nothing if it has ended."""
        # The guard goes first: once the process is waited for, its id may become somebody else's.
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _last_lines(self) -> str:
        return " | ".join(self.logged.splitlines()[-_QUOTED_LINES:])

"""Processes: a worker is one of them, or a parent with several, which it starts, watches and passes signals on to."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType

import structlog
import uvloop

from dispatcher.observe import logs
from dispatcher.observe.process import allow_sockets, freeze
from dispatcher.settings import PREFIX, NumbersFile, Settings
from dispatcher.worker import run

_WATCH_EVERY_S = 0.1
# A child that ends at once would otherwise be started again at once, for ever.
_RESTART_S = (1.0, 2.0, 5.0, 10.0, 30.0)
_STEADY_S = 60.0
_PROCESS_REFUSED = "process.refused"


def work(settings: Settings, parent: int | None = None) -> None:
    """Be a worker process until told to stop, or until the `parent` process is gone.

    Raises:
        SettingsError: the numbers file is wrong, the metrics port taken, or Redis not fit to keep messages.
    """
    logs.set_up(settings.log_level, settings.log_format)
    numbers = NumbersFile.load(settings.numbers_file)
    freeze()
    allow_sockets()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), name="parent", daemon=True).start()
    uvloop.run(run.run(settings, numbers))


def log_refusal(problems: Sequence[str]) -> None:
    """Log as JSON why a worker cannot start, or go on; its settings may be what is wrong."""
    logs.set_up()
    structlog.get_logger().error(_PROCESS_REFUSED, problems=list(problems))


def _end_with(parent: int) -> None:
    """Stop cleanly should the parent be killed: nobody would pass signals on any more."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


class Parent:
    """Runs `count` workers, with `flags` for each; worker i serves its metrics on the metrics port + i."""

    def __init__(self, settings: Settings, count: int, flags: Sequence[str] = ()) -> None:
        self._settings = settings
        self._flags = flags
        self._children = [_Child(self._start_command(index)) for index in range(count)]
        self._signals: list[int] = []
        self._log = structlog.get_logger()

    def run(self) -> int:
        """Run until told to stop and all workers have ended; the worst of their exit codes."""
        logs.set_up(self._settings.log_level, self._settings.log_format)
        for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(name, self._take_note)
        for child in self._children:
            child.start()
        is_stopping = False
        while any(child.is_running or not is_stopping for child in self._children):
            time.sleep(_WATCH_EVERY_S)
            while self._signals:
                number = self._signals.pop(0)
                is_stopping = is_stopping or number != signal.SIGHUP
                for child in self._children:
                    child.send(number)
            if not is_stopping:
                self._revive()
        return max(child.exit_code() for child in self._children)

    def _take_note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the interface of signal
        self._signals.append(number)

    def _revive(self) -> None:
        for index, child in enumerate(self._children):
            if child.has_ended():
                self._log.error(logs.CHILD_ENDED, child=index, code=child.code)
            child.start_when_due()

    def _start_command(self, index: int) -> Callable[[], subprocess.Popen[bytes]]:
        port = self._settings.metrics_port
        environ = dict(os.environ)
        if port:
            environ[f"{PREFIX}METRICS_PORT"] = str(port + index)
        command = [sys.executable, "-m", "dispatcher", "worker", "--child-of", str(os.getpid()), *self._flags]
        # a group of its own: Ctrl-C reaches the parent alone, which passes it on once
        return lambda: subprocess.Popen(command, env=environ, start_new_session=True)  # noqa: S603 - our own command


class _Child:
    """One worker process and when it was, or will be, started."""

    def __init__(self, start: Callable[[], subprocess.Popen[bytes]]) -> None:
        self._start = start
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._due_at: float | None = None
        self._quick_ends = 0
        self.code = 0

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        self._process = self._start()
        self._started_at, self._due_at = time.monotonic(), None

    def has_ended(self) -> bool:
        """Whether it has ended since this was asked last; it is then due to be started again."""
        if self._process is None or self._process.poll() is None:
            return False
        self.code, self._process = self._process.returncode, None
        is_steady = time.monotonic() - self._started_at > _STEADY_S
        self._quick_ends = 0 if is_steady else self._quick_ends + 1
        self._due_at = time.monotonic() + _RESTART_S[min(self._quick_ends, len(_RESTART_S) - 1)]
        return True

    def exit_code(self) -> int:
        """How the last of its processes ended: 0, its own code, or 1 for a signal."""
        code = self._process.returncode if self._process is not None else self.code
        if code == -signal.SIGTERM:
            return 0  # asked to end before it had begun
        return code if code >= 0 else 1

    def start_when_due(self) -> None:
        if self._due_at is not None and time.monotonic() >= self._due_at:
            self.start()

    def send(self, number: int) -> None:
        if self.is_running and self._process is not None:
            self._process.send_signal(number)

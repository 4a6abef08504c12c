"""Processes of a measurement, started and ended here, and how much of a processor each used."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

_ROOT = Path(__file__).parents[2]
_STOP_LIMIT_S = 120.0
_KEEPS_STILL = "DISPATCHER_"
_OURS = (sys.executable, "-m", "tests.bench.children")


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This environment without settings of ours, and with `extra`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_KEEPS_STILL)}
    return {**kept, "PYTHONPATH": str(_ROOT), **extra}


class Child:
    """One process, one of `children.py` unless another program is named; its standard error is in `log`."""

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str] | None = None,
        *,
        program: Sequence[str] = _OURS,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log = folder / "stderr"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*program, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=folder,  # no .env there
                env=clean_environment(environment or {}),
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def line(self) -> str:
        """The next line that the process prints; waits for it."""
        assert self._process.stdout is not None
        line: str = self._process.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"the process said nothing: {self.last_words()}")
        return line

    def go(self) -> None:
        """Tell a process that has said it is ready to begin."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def check(self) -> None:
        """Raise if the process has ended."""
        if self._process.poll() is not None:
            raise RuntimeError(f"a process ended with {self._process.returncode}: {self.last_words()}")

    def stop(self) -> int:
        """Ask the process to end, and end it if it does not; its exit code."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(_STOP_LIMIT_S)  # its standard input stays open until it has ended
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._process.communicate()
        return self._process.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def cpu_s(pid: int) -> float | None:
    """Seconds of processor time that a process has used, with all its threads; None where Linux's /proc is not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def waited_s(pid: int) -> float | None:
    """Seconds that a process's main thread was ready to run and had no core; None where Linux does not tell."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return None


def machine_cpu_s() -> float | None:
    """Seconds of processor time that the whole machine has used, taken away by a host included."""
    try:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


class Meter:
    """Processor use of named processes between two moments."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = {**pids, "driver": os.getpid()}
        self._used_before, self._waited_before = self._read(cpu_s), self._read(waited_s)
        self._machine_before = machine_cpu_s()
        self._started_at = time.monotonic()

    def _read(self, seconds_of: Callable[[int], float | None]) -> dict[str, float]:
        found = ((name, seconds_of(pid)) for name, pid in self._pids.items())
        return {name: seconds for name, seconds in found if seconds is not None}

    def seconds(self) -> dict[str, float]:
        """Processor seconds of each since the start; `others` is what ran beside us on this machine."""
        used, machine = _since(self._used_before, self._read(cpu_s)), machine_cpu_s()
        if machine is not None and self._machine_before is not None:
            used["others"] = max(0.0, machine - self._machine_before - sum(used.values()))
        return used

    def shares(self) -> dict[str, dict[str, float]]:
        """Cores in use by each, and the share of the time in which it was ready to run but had no core."""
        elapsed_s = time.monotonic() - self._started_at
        waited = _since(self._waited_before, self._read(waited_s))
        return {
            "cores": {name: round(used_s / elapsed_s, 3) for name, used_s in self.seconds().items()},
            "waited": {name: round(ready_s / elapsed_s, 3) for name, ready_s in waited.items()},
        }


def _since(before: Mapping[str, float], now: Mapping[str, float]) -> dict[str, float]:
    return {name: seconds - before[name] for name, seconds in now.items() if name in before}

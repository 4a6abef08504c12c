"""Processes of a measurement, started here, and how much of a processor each used."""

import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from dispatcher.lab.processes import Process, clean_environment

_ROOT = Path(__file__).parents[2]


def start_child(
    name: str, folder: Path, what: str, *arguments: str, settings: Mapping[str, str] | None = None
) -> Process:
    """Start one of `children.py`; what it logs is in `<name>.log` in the folder."""
    command = [sys.executable, "-m", "tests.bench.children", what, *arguments]
    return Process(name, command, folder, clean_environment(settings) | {"PYTHONPATH": str(_ROOT)}, is_piped=True)


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

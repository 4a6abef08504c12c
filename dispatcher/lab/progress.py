"""Shows how the demo goes: bars where there is a terminal, else a line now and then. Decides nothing."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from dispatcher.lab.act import Show
from dispatcher.lab.chronicle import ACCEPTED, UNCERTAIN
from dispatcher.lab.evidence import CODE, LATE_CODE
from dispatcher.lab.traffic import Traffic
from dispatcher.lab.watch import Gate, Watch

_LINE_EVERY_S: Final = 2.0


@contextmanager
def showing(console: Console, names: Mapping[str, str], *, is_quiet: bool) -> Iterator[Show]:
    """Show on `console`, or nowhere; `names` are those of the numbers, by their ids."""
    if is_quiet:
        yield Silence()
    elif console.is_terminal:
        with _columns(console) as progress:
            yield Bars(progress, names)
    else:
        yield Lines(console)


class Silence:
    """Shows nothing."""

    def say(self, text: str) -> None:
        """Keep it."""

    def update(self, watch: Watch, traffic: Traffic) -> None:
        """Keep that, too."""


class Bars:
    """One bar a number, and one for what is uncertain, which fills as it is resolved."""

    def __init__(self, progress: Progress, names: Mapping[str, str]) -> None:
        self._progress = progress
        self._names = names
        self._tasks: dict[str, TaskID] = {}
        self._doubts: TaskID | None = None
        self._started_at = time.monotonic()

    def say(self, text: str) -> None:
        """Print above the bars."""
        self._progress.console.print(f"[dim]{time.monotonic() - self._started_at:5.1f} s[/]  {text}")

    def update(self, watch: Watch, traffic: Traffic) -> None:
        """Move the bars."""
        queued = Counter(sent.number for sent in traffic.sent.values())
        for number, name in self._names.items():
            if number not in self._tasks:
                self._tasks[number] = self._progress.add_task(name, counts="", gate="")
            self._progress.update(
                self._tasks[number],
                total=queued[number],
                completed=watch.total(ACCEPTED, number),
                counts=_counts(watch, number),
                gate=_gate(watch.gates[number]),
            )
        if doubts := len(watch.chronicle.doubts):
            if self._doubts is None:
                self._doubts = self._progress.add_task("resolved", counts="uncertain sends", gate="")
            self._progress.update(self._doubts, total=doubts, completed=watch.resolved())


class Lines:
    """A line for what happens, and one for how it stands every other second."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started_at = time.monotonic()
        self._last_line_at = self._started_at

    def say(self, text: str) -> None:
        """Print it."""
        self._console.print(f"{time.monotonic() - self._started_at:5.1f} s  {text}", highlight=False)

    def update(self, watch: Watch, traffic: Traffic) -> None:
        """Print the sums, if the last time was long enough ago."""
        if time.monotonic() - self._last_line_at < _LINE_EVERY_S:
            return
        self._last_line_at = time.monotonic()
        self.say(
            f"accepted {watch.total(ACCEPTED):,} of {len(traffic.sent):,}, delivered {watch.receipts('delivered'):,}, "
            f"uncertain {watch.total(UNCERTAIN)}, resolved {watch.resolved()}"
        )


def _counts(watch: Watch, number: str) -> str:
    codes = watch.total(ACCEPTED, number, CODE) + watch.total(ACCEPTED, number, LATE_CODE)
    delivered, uncertain = watch.receipts("delivered", number), watch.total(UNCERTAIN, number)
    return f"codes {codes:>3}  delivered {delivered:>4}  uncertain {uncertain:>2}"


def _gate(gate: Gate) -> str:
    if gate.why:
        return f"[yellow]gate closed: {gate.why}[/]"
    served = f", served by {gate.owner.rsplit('-', 2)[1]}" if gate.owner.count("-") >= 2 else ""
    return f"[green]gate open[/]{served}"


def _columns(console: Console) -> Progress:
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[counts]}"),
        TextColumn("{task.fields[gate]}"),
        TimeElapsedColumn(),
        console=console,
        refresh_per_second=8,
    )

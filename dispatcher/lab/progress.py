"""Shows how the demo goes: bars where there is a terminal, else a line now and then. Decides nothing."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from dispatcher.lab.evidence import CODE, LATE_CODE
from dispatcher.lab.timeline import ACCEPTED, UNCERTAIN, CellWatcher, Timeline
from dispatcher.lab.traffic import Traffic
from dispatcher.store.cell import Standing

_LINE_EVERY_S: Final = 2.0


class Display(Protocol):
    """Who shows how a run goes."""

    def say(self, text: str) -> None:
        """Something happened."""

    def update(self, watcher: CellWatcher, traffic: Traffic) -> None:
        """Time has passed."""


@contextmanager
def showing(console: Console, names: Mapping[str, str], *, is_quiet: bool) -> Iterator[Display]:
    """Show on `console`, or nowhere; `names` are those of the numbers, by their ids."""
    if is_quiet:
        yield NoDisplay()
    elif console.is_terminal:
        with _columns(console) as progress:
            yield BarDisplay(progress, names)
    else:
        yield LineDisplay(console)


class NoDisplay:
    """Shows nothing."""

    def say(self, text: str) -> None:
        """Keep it."""

    def update(self, watcher: CellWatcher, traffic: Traffic) -> None:
        """Keep that, too."""


class BarDisplay:
    """One bar a number, and one for what is uncertain, which fills as it is resolved."""

    def __init__(self, progress: Progress, names: Mapping[str, str]) -> None:
        self._progress = progress
        self._names = names
        self._tasks: dict[str, TaskID] = {}
        self._resolved: TaskID | None = None
        self._started_at = time.monotonic()

    def say(self, text: str) -> None:
        """Print above the bars."""
        self._progress.console.print(f"[dim]{time.monotonic() - self._started_at:5.1f} s[/]  {text}")

    def update(self, watcher: CellWatcher, traffic: Traffic) -> None:
        """Move the bars."""
        timeline, queued = watcher.timeline, Counter(sent.number for sent in traffic.sent.values())
        for number, name in self._names.items():
            if number not in self._tasks:
                self._tasks[number] = self._progress.add_task(name, counts="", gate="")
            self._progress.update(
                self._tasks[number],
                total=queued[number],
                completed=timeline.total(ACCEPTED, number),
                counts=_counts(timeline, number),
                gate=_gate(watcher.standings[number]),
            )
        if uncertain := len(timeline.uncertain_sends):
            if self._resolved is None:
                self._resolved = self._progress.add_task("resolved", counts="uncertain sends", gate="")
            self._progress.update(self._resolved, total=uncertain, completed=timeline.resolved())


class LineDisplay:
    """A line for what happens, and one for how it stands every other second."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started_at = time.monotonic()
        self._last_line_at = self._started_at

    def say(self, text: str) -> None:
        """Print it."""
        self._console.print(f"{time.monotonic() - self._started_at:5.1f} s  {text}", highlight=False)

    def update(self, watcher: CellWatcher, traffic: Traffic) -> None:
        """Print the sums, if the last time was long enough ago."""
        if time.monotonic() - self._last_line_at < _LINE_EVERY_S:
            return
        self._last_line_at, timeline = time.monotonic(), watcher.timeline
        delivered = timeline.receipts_of("delivered")
        self.say(
            f"accepted {timeline.total(ACCEPTED):,} of {len(traffic.sent):,}, delivered {delivered:,}, "
            f"uncertain {timeline.total(UNCERTAIN)}, resolved {timeline.resolved()}"
        )


def _counts(timeline: Timeline, number: str) -> str:
    codes = timeline.total(ACCEPTED, number, CODE) + timeline.total(ACCEPTED, number, LATE_CODE)
    delivered, uncertain = timeline.receipts_of("delivered", number), timeline.total(UNCERTAIN, number)
    return f"codes {codes:>3}  delivered {delivered:>4}  uncertain {uncertain:>2}"


def _gate(standing: Standing) -> str:
    if standing.streak > 0:
        return f"[yellow]gate closed: {standing.gate_why or 'unknown'}[/]"
    served = f", served by {standing.owner.rsplit('-', 2)[1]}" if standing.owner.count("-") >= 2 else ""
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

"""The progress of a long command on standard error: a bar on a terminal, single notes elsewhere."""

from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from dispatcher.cli.output import note


class Bar:
    """Shows how far a file is, by bytes if its size is known, and what it waits for."""

    def __init__(self, size: int | None) -> None:
        console = Console(stderr=True)
        measures: list[Any] = [SpinnerColumn()]
        if size is not None:
            measures = [BarColumn(), TaskProgressColumn(), TimeRemainingColumn()]
        texts = (TextColumn("{task.description}"), *measures, TextColumn("{task.fields[said]}", markup=False))
        self._is_terminal = console.is_terminal
        self._progress = Progress(*texts, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task("", total=size, said="")
        self._trouble = ""
        self._counts = ""

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Leave the screen to others."""
        self._progress.stop()

    def begin(self, what: str, size: int | None) -> None:
        """Start from zero with the next part of the work."""
        self._counts = ""
        self._progress.reset(self._task, description=what, total=size, said="")

    def advance(self, size: int, counts: str) -> None:
        """Move on by `size` bytes."""
        self._counts = counts
        self._progress.update(self._task, advance=size, said=self._said())

    def wait_for(self, trouble: str) -> None:
        """Say what holds the work up; an empty text says that it goes on."""
        if trouble == self._trouble:
            return
        self._trouble = trouble
        self._progress.update(self._task, said=self._said())
        if trouble and not self._is_terminal:
            note(trouble)

    def _said(self) -> str:
        return f"{self._counts}: {self._trouble}" if self._trouble else self._counts

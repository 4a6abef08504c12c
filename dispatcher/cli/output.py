"""How commands speak: JSON for machines, tables for people, errors on standard error; and times as people write them.

What a command writes for people fits 80 columns: no word is broken over two lines, and nothing is cut. It must stay
light: `--help` imports this.
"""

import dataclasses
import json
import os
import re
import sys
import textwrap
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

REFUSED: Final = 1
AWAY: Final = 3

_WIDTH_OF_FILES: Final = 140
_GAP: Final = "  "
_UNITS_S: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhd]?)")
# From so many seconds on, a span of time is told in the next unit.
_SPANS: Final = ((2 * 86_400, 86_400, "d"), (2 * 3600, 3600, "h"), (120, 60, "min"), (1, 1, "s"))
_is_for_machines: ContextVar[bool] = ContextVar("is_for_machines", default=False)


class Styled(NamedTuple):
    """A text and how it looks."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; one that is `extra` is left out where it is empty or the terminal is too narrow for it."""

    title: str
    right: bool = False
    extra: bool = False


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of a table, and what is to be said below it."""

    cells: Sequence[object]
    below: Sequence[Styled] = ()


def _speak_to(machines: bool) -> bool:
    _is_for_machines.set(machines)
    return machines


Json = Annotated[bool, typer.Option("--json", callback=_speak_to, help="Write JSON for machines.")]
"""The flag that every command has; `fail` heeds it by itself."""


# JSON


def write_json(value: Any) -> None:
    """Write one JSON value; dataclasses become objects, times ISO 8601 in UTC."""
    print(json.dumps(value, default=_plain), flush=True)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} has no JSON form")


# tables


def bad(value: object) -> Styled:
    """Show what somebody must do something about."""
    return Styled(shown(value), "bold red")


def odd(value: object) -> Styled:
    """Show what somebody should know about, and what may pass by itself."""
    return Styled(shown(value), "yellow")


def table(columns: Sequence[Column], rows: Sequence[TableRow], *, below: str = "why") -> None:
    """Write a table; `below` is the title of what is said below the rows, where there is room for it beside them.

    Where the table is too wide for the terminal, extra columns are left out, the last first; then the first column goes
    on a line of its own.
    """
    console = _console()
    cells = [[_styled(cell) for cell in row.cells] for row in rows]
    widths = [max(len(column.title), *(len(row[at].text) for row in cells), 0) for at, column in enumerate(columns)]
    filled = [at for at, column in enumerate(columns) if not column.extra or any(row[at].text for row in cells)]
    lines = _lines(columns, widths, filled, console.width)
    room = console.width - _width(widths, lines[0]) - len(_GAP)
    if len(lines) == 1 and _fit_beside(rows, room):
        beside = [TableRow((*row.cells, *(row.below or [Styled("")]))) for row in rows]
        table((*columns, Column(below)), beside)
        return
    titles = [Styled(column.title, "bold") for column in columns]
    for given, row in zip([titles, *cells], [None, *rows], strict=True):
        for indent, places in enumerate(lines):
            text = _line([(given[at], widths[at], columns[at].right) for at in places])
            _write(console, text, indent * _GAP)
        for said in row.below if row else ():
            _write_wrapped(console, said, _GAP)


def _lines(columns: Sequence[Column], widths: Sequence[int], filled: list[int], width: int) -> list[list[int]]:
    """Say which columns a row shows, on one line or on two."""
    while _width(widths, filled) > width and (extra := [at for at in filled if columns[at].extra]):
        filled = [at for at in filled if at != extra[-1]]
    return [filled] if _width(widths, filled) <= width else [filled[:1], filled[1:]]


def _width(widths: Sequence[int], places: Sequence[int]) -> int:
    return sum(widths[at] for at in places) + len(_GAP) * (len(places) - 1)


def _fit_beside(rows: Sequence[TableRow], room: int) -> bool:
    """Whether what is said below the rows can be one more column."""
    said = [one for row in rows for one in row.below]
    return bool(said) and all(len(row.below) <= 1 for row in rows) and all(len(one.text) <= room for one in said)


def sheet(rows: Sequence[tuple[str, object]]) -> None:
    """Write names and their values below each other, without those that are empty; a list is a line each."""
    console = _console()
    given = [(name, value if isinstance(value, list) else [value]) for name, value in rows]
    found = [(name, [line for value in values if (line := _styled(value)).text]) for name, values in given]
    indent = " " * (max(len(name) for name, lines in found if lines) + len(_GAP))
    for name, lines in found:
        label = name
        for line in lines:
            is_too_long = max(len(word) for word in line.text.split(" ")) > console.width - len(indent)
            if is_too_long:  # an id goes below its name rather than over two lines
                _write(console, _text(Styled(label, "bold")), "")
                _write_wrapped(console, line, _GAP if len(line.text) + len(_GAP) <= console.width else "")
            else:
                _write_wrapped(console, line, indent, Styled(label.ljust(len(indent)), "bold"))
            label = ""


def shown(value: object) -> str:
    """Return a value as people read it; what is not there is nothing."""
    match value:
        case None:
            text = ""
        case datetime():
            text = value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        case bool():
            text = "yes" if value else "no"
        case int():
            text = f"{value:,}"
        case float():
            text = f"{value:,.0f}" if value == round(value) else f"{value:,g}"
        case list() | tuple():
            text = ", ".join(shown(item) for item in value)
        case _:
            text = str(value)
    return printable(text)


def printable(text: str) -> str:
    """Return the text on one line, and without what a terminal would obey."""
    return "".join(char if char.isprintable() else " " for char in text)


def _styled(value: object) -> Styled:
    return value if isinstance(value, Styled) else Styled(shown(value))


def _text(said: Styled) -> "Text":
    from rich.text import Text

    return Text(said.text, style=said.style)


def _line(cells: Sequence[tuple[Styled, int, bool]]) -> "Text":
    from rich.text import Text

    line = Text()
    for at, (cell, width, right) in enumerate(cells):
        space = " " * (width - len(cell.text))
        line.append(_GAP if at else "")
        line.append(space if right else "")
        line.append(cell.text, style=cell.style)
        line.append("" if right else space)
    line.rstrip()
    return line


def _write(console: "Console", line: "Text", indent: str) -> None:
    from rich.text import Text

    console.print(Text(indent) + line, soft_wrap=True)


def _write_wrapped(console: "Console", said: Styled, indent: str, first: Styled | None = None) -> None:
    """Write a text in lines that break between words alone, the first one behind `first`."""
    width = max(console.width - len(indent), 1)
    for line in textwrap.wrap(said.text, width, break_long_words=False, break_on_hyphens=False):
        text = _text(Styled(line, said.style))
        if first:
            console.print(_text(first) + text, soft_wrap=True)
            first = None
        else:
            _write(console, text, indent)


def _console() -> "Console":
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(highlight=False, width=_WIDTH_OF_FILES)
    return console


# errors and notes


def note(text: str) -> None:
    """Say something that is no part of the answer."""
    for line in text.splitlines():
        print(f"dispatcher: {line}", file=sys.stderr)


def fail(
    text: str,
    code: int = REFUSED,
    *,
    ended: str = "refused",
    field: str = "",
    key: str | None = None,
    answer: object = None,
) -> NoReturn:
    """Say what is wrong and what to do next, and end the command.

    With --json the answer is written, if the command has one all the same, else `failure`.
    """
    if _is_for_machines.get():
        write_json(failure(text, ended=ended, field=field, key=key) if answer is None else answer)
    note(text)
    raise typer.Exit(code)


def failure(text: str, *, ended: str, field: str = "", key: str | None = None) -> dict[str, Any]:
    """Return for machines what went wrong: a word for how it ended, the text for people, the field and key it names."""
    return {"ended": ended, "error": text, "field": field, "key": key}


# times


def span(seconds: float) -> str:
    """Return a length of time in one unit, such as `85 s`, `3 min`, `5 h` or `12 d`."""
    for least_s, unit_s, unit in _SPANS:
        if seconds >= least_s:
            return f"{seconds / unit_s:,.0f} {unit}"
    return "under 1 s"


def age(then: datetime | None, now: datetime) -> str:
    """Return how long ago something was, or in how long it will be; nothing where it has no time."""
    if then is None:
        return ""
    seconds = (now - then).total_seconds()
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"


def duration_s(text: str) -> float:
    """Read `90s`, `15m`, `2h`, `1d` or plain seconds.

    Raises:
        BadParameter: it is none of these, or no time at all.
    """
    found = _DURATION.fullmatch(text.strip().lower())
    seconds = float(found[1]) * _UNITS_S[found[2]] if found else 0.0
    if seconds <= 0:
        raise typer.BadParameter(f"{text!r} is not a duration: write 90s, 15m, 2h, 1d, or seconds")
    return seconds


def moment(text: str) -> datetime:
    """Read a time in ISO 8601 with its zone.

    Raises:
        BadParameter: it is none, or has no zone.
    """
    from dispatcher.message.message import read_moment

    try:
        found = read_moment(text)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from None
    if found is None:
        raise typer.BadParameter('must be a time such as "2026-11-22T15:00:00Z"')
    return found

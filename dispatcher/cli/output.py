"""How commands speak: JSON for machines, tables for people, troubles on standard error. Knows no command."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, NoReturn

import typer

REFUSED: Final = 1
AWAY: Final = 3

Json = Annotated[bool, typer.Option("--json", help="Write JSON for machines.")]
"""The flag that every command with an answer has."""

_WIDTH_OF_FILES: Final = 240


def write_json(value: Any) -> None:
    """Write one JSON value; dataclasses become objects, times ISO 8601 in UTC."""
    print(json.dumps(value, default=_plain))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a table; what is too long for the terminal is wrapped, never cut."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        made.add_column(name, overflow="fold")
    for row in rows:
        made.add_row(*(Text(shown(value)) for value in row))
    _print(made)


def sheet(rows: Sequence[tuple[str, object]]) -> None:
    """Write names and their values below each other, without those that are empty."""
    from rich.table import Table
    from rich.text import Text

    made = Table.grid(padding=(0, 2))
    made.add_column()
    made.add_column(overflow="fold")
    for name, value in rows:
        if shown(value):
            made.add_row(Text(name, style="bold"), Text(shown(value)))
    _print(made)


def shown(value: object) -> str:
    """Return a value as people read it; what is not there is nothing."""
    match value:
        case None:
            return ""
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        case float():
            return f"{value:g}"
        case list() | tuple():
            return ", ".join(shown(item) for item in value)
    return str(value)


def note(text: str) -> None:
    """Say something that is no part of the answer."""
    print(f"dispatcher: {text}", file=sys.stderr)


def fail(text: str, code: int = REFUSED) -> NoReturn:
    """Say what is wrong and what to do next, and end the command."""
    note(text)
    raise typer.Exit(code)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _print(what: Any) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH_OF_FILES)
    console.print(what)

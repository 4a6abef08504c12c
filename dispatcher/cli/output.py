"""How commands speak: JSON for machines, tables for people, troubles on standard error. Knows no command."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Annotated, Any, Final, NoReturn

import typer

REFUSED: Final = 1
AWAY: Final = 3

_WIDTH_OF_FILES: Final = 240
_is_for_machines: ContextVar[bool] = ContextVar("is_for_machines", default=False)


def _speak_to(machines: bool) -> bool:
    _is_for_machines.set(machines)
    return machines


Json = Annotated[bool, typer.Option("--json", callback=_speak_to, help="Write JSON for machines.")]
"""The flag that every command has; `fail` heeds it by itself."""


def write_json(value: Any) -> None:
    """Write one JSON value; dataclasses become objects, times ISO 8601 in UTC."""
    print(json.dumps(value, default=_plain), flush=True)


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

"""docs/commands.md: every command and option, as the code has them."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from dispatcher.cli.commands import app
from dispatcher.cli.output import duration_s

DOCS = Path(__file__).parents[2] / "docs" / "commands.md"

Rows = dict[str, str]


def commands_of(command: Any, name: str = "dispatcher") -> dict[str, Rows]:
    """Options and arguments by command, each with its help; hidden ones are for the program itself."""
    if name.endswith("numbers") and command.commands:
        found = {name: rows_of(command)}  # shows the numbers without a further word
    else:
        found = {} if hasattr(command, "commands") and name != "dispatcher" else {name: rows_of(command)}
    for word, below in getattr(command, "commands", {}).items():
        found |= commands_of(below, f"{name} {word}")
    return found


def rows_of(command: Any) -> Rows:
    return {row_name(param): param.help for param in command.params if not getattr(param, "hidden", False)}


def row_name(param: Any) -> str:
    if param.param_type_name == "argument":
        return str(param.metavar or param.name).upper()
    return str(param.opts[0])


def test_the_page_lists_every_command_and_option() -> None:
    found: dict[str, Rows] = {}
    for section in re.split(r"^## ", DOCS.read_text(), flags=re.MULTILINE)[1:]:
        if names := re.match(r"`([a-z ]+)`", section):
            cells = re.findall(r"^\| `(\S+)` \| (.*) \|$", section, flags=re.MULTILINE)
            found[names[1]] = dict(cells)
    assert found == commands_of(typer.main.get_command(app))


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86_400), ("45", 45), ("1.5H", 5400)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-1s", "0", "1w", "1h30m", "nan", "1e9", "9" * 30])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="write 90s, 15m, 2h, 1d, or seconds"):
        duration_s(text)

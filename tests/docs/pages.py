"""The papers, as tests read them: tables and code."""

import re
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def page(name: str) -> str:
    """The text of a page in `docs/`."""
    return (ROOT / "docs" / name).read_text()


def table(text: str, head: str) -> list[list[str]]:
    """The cells of the table whose first line begins with `head`, without its first two lines."""
    lines = takewhile(lambda line: line.startswith("|"), text[text.index(head) :].splitlines())
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in list(lines)[2:]]


def names(cell: str) -> list[str]:
    """What stands between backticks."""
    return re.findall(r"`([^`]+)`", cell)


def code(text: str, language: str) -> list[str]:
    """The blocks of code in a language, or of those without one."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [block for found, block in blocks if found == language]

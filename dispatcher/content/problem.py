"""What can be wrong with what a producer gave: a field, a reason, and the given value in few words."""

import difflib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

SHOWN_CHARACTERS_MAX = 60
"""How much of a given value an error repeats: enough to recognise it."""

Object = Mapping[str, Any]
"""A JSON object."""


class ContentError(ValueError):
    """A content that cannot be sent; `problems` names everything found wrong, at least one."""

    def __init__(self, problems: tuple["Problem", ...]) -> None:
        super().__init__(problems)
        self.problems = problems


class Problem(NamedTuple):
    """One thing wrong: `field` as a path such as `content.text.body`, `reason` with what would be right."""

    field: str
    reason: str


def nearest(given: str, known: Iterable[str]) -> str:
    """Return `, did you mean "…"?` where a known word is near, else nothing."""
    near = difflib.get_close_matches(given[:SHOWN_CHARACTERS_MAX], known, n=1)
    return f', did you mean "{near[0]}"?' if near else ""


def one_of(words: type[StrEnum], given: object) -> str:
    """Say that `given` is none of the words."""
    guess = nearest(given.lower(), list(words)) if isinstance(given, str) else ""
    return f"must be one of {', '.join(words)}, given {shown(given)}{guess}"


def given_in(holder: Object, name: str) -> str:
    """Say what a field of an object was given as, or that it is missing."""
    return f"given {shown(holder[name])}" if name in holder else "but it is missing"


def shown(given: object) -> str:
    """Return a given value as errors show it: JSON where it is short, its kind where it is not, always printable."""
    if given is None:
        return "null"
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, str):
        return f'"{_printable(given)}"'
    if isinstance(given, Mapping):
        return "an object"
    if isinstance(given, list | tuple):
        return "a list"
    if isinstance(given, int) and given.bit_length() > 128:
        return "an integer of more than 128 bits"
    return repr(given) if isinstance(given, int | float) else f"a Python {_printable(type(given).__name__)}"


def _printable(text: str) -> str:
    short = text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[: SHOWN_CHARACTERS_MAX - 1]}…"
    return short if short.isprintable() else repr(short)[1:-1]

"""What can be wrong with what a producer gave: a field, a reason, and the given value in few words."""

import difflib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from dispatcher import errors

PROBLEMS_MAX = 8
"""How many problems an error spells out; the rest is counted."""

SHOWN_CHARACTERS_MAX = 60
"""How much of a given value an error repeats: enough to recognise it."""

Object = Mapping[str, Any]
"""A JSON object."""


class ContentError(errors.Refused, ValueError):
    """A content that cannot be sent; `problems` names everything found wrong, at least one.

    Whoever builds a content catches it as `Refused`; inside a message pydantic collects it as a ValueError.
    """

    def __init__(self, problems: tuple["Problem", ...]) -> None:
        super().__init__(*together(problems))
        self.args = (problems,)  # what pickle calls the class with
        self.problems = problems


class Problem(NamedTuple):
    """One thing wrong: `field` as a path such as `content.text.body`, `reason` with what would be right."""

    field: str
    reason: str


def together(problems: tuple[Problem, ...]) -> tuple[str, str]:
    """Return one field and one reason for all problems: those of the first, the others behind its reason."""
    first, *others = problems
    more = [f"{problem.field}: {problem.reason}" for problem in others[: PROBLEMS_MAX - 1]]
    if len(problems) > PROBLEMS_MAX:
        more.append(f"and {len(problems) - PROBLEMS_MAX} more")
    return first.field, "; ".join([first.reason, *more])


def nearest(given: str, known: Iterable[str]) -> str:
    """Return `, did you mean "…"?` where a known word is near, else nothing."""
    near = difflib.get_close_matches(given[:SHOWN_CHARACTERS_MAX], known, n=1)
    return f', did you mean "{near[0]}"?' if near else ""


def one_of(words: type[StrEnum], given: object) -> str:
    """Say that `given` is none of the words."""
    guess = nearest(given.lower(), list(words)) if isinstance(given, str) else ""
    return f"must be one of {', '.join(words)}, given {shown(given)}{guess}"


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

"""What every kind is checked with: problems, and the shapes of Meta's objects, put together from small checks.

A check takes a value, its path for errors, and the list that gets what is wrong; it changes nothing. Fields that no
shape names pass. Each limit is said once, where its kind is. Knows no kind.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

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


Check = Callable[[Any, str, list[Problem]], None]
Checks = Mapping[str, Check]

MISSING: Final = object()
"""Stands for a field that is required and not there."""

_INTEGER = re.compile(r"-?[0-9]{1,20}")
_NOTHING: Checks = {}


def given(value: object) -> str:
    """Say what a field was given as, or that it is missing."""
    return "but it is missing" if value is MISSING else f"given {shown(value)}"


def record(required: Checks, optional: Checks = _NOTHING, *whole: Check, like: str = "") -> Check:
    """An object with its fields; `whole` looks at all of it, `like` is an example for errors."""
    needed, others = tuple(required.items()), tuple(optional.items())
    wanted = f"an object such as {like}" if like else "an object"

    def check(value: Any, at: str, found: list[Problem]) -> None:
        if not isinstance(value, dict):
            found.append(Problem(at, f"must be {wanted}, {given(value)}"))
            return
        for name, inner in needed:
            inner(value.get(name, MISSING), f"{at}.{name}", found)
        for name, inner in others:
            if name in value:
                inner(value[name], f"{at}.{name}", found)
        for inner in whole:
            inner(value, at, found)

    return check


def array(item: Check, most: int | None = None, *, least: int = 0) -> Check:
    """A list of objects, none of them null."""

    def check(value: Any, at: str, found: list[Problem]) -> None:
        if not isinstance(value, list):
            found.append(Problem(at, f"must be a list of objects, {given(value)}"))
            return
        if reason := wrong_count(len(value), most, "items", least=least):
            found.append(Problem(at, reason))
        for index, inner in enumerate(value):
            item(inner, f"{at}[{index}]", found)

    return check


def by_type(checks: Checks, otherwise: str | None = None) -> Check:
    """An object whose `type` says how it is checked; types without a check pass.

    `otherwise` is what an object without a `type` is taken for; without it a `type` is needed.
    """

    def check(value: Any, at: str, found: list[Problem]) -> None:
        if not isinstance(value, dict):
            found.append(Problem(at, f"must be an object, {given(value)}"))
            return
        kind = value.get("type", otherwise or MISSING)
        if not isinstance(kind, str):
            found.append(Problem(f"{at}.type", f"must be a string, {given(kind)}"))
        elif kind in checks:
            checks[kind](value, at, found)

    return check


def both(*checks: Check) -> Check:
    """A value that must stand several checks."""

    def check(value: Any, at: str, found: list[Problem]) -> None:
        for inner in checks:
            inner(value, at, found)

    return check


def text(most: int | None = None, *, least: int = 1, wanted: str = "") -> Check:
    """A string of so many characters, which are Unicode code points: Meta names no unit, and this is the looser one."""
    wanted = wanted or _wanted_text(most, least)

    def check(value: Any, at: str, found: list[Problem]) -> None:
        if not isinstance(value, str):
            found.append(Problem(at, f"must be {wanted}, {given(value)}"))
        elif most is not None:
            if reason := wrong_count(len(value), most, "characters", least=least):
                found.append(Problem(at, reason))
        elif len(value) < least:
            found.append(Problem(at, f"must be {wanted}, given {shown(value)}"))

    return check


def _wanted_text(most: int | None, least: int) -> str:
    if most is None:
        return "a string that is not empty" if least else "a string"
    return f"a string of {least} to {most} characters"


def wrong_count(count: int, most: int | None, noun: str, *, least: int) -> str | None:
    """Return what is wrong with so many; None if nothing is."""
    if most is not None and count > most:
        return f"must have at most {most} {noun}, given {count}"
    if count < least:
        return f"must have {f'at least {least}' if most is None else f'{least} to {most}'} {noun}, given {count}"
    return None


def integer(least: int | None = None, most: int | None = None) -> Check:
    """An integer, which may be written as a string: Meta's own examples do both."""
    bounds = [f" {word} {bound}" for word, bound in (("from", least), ("to", most)) if bound is not None]
    wanted = f"an integer{''.join(bounds)}"

    def check(value: Any, at: str, found: list[Problem]) -> None:
        number = int(value) if isinstance(value, str) and _INTEGER.fullmatch(value) else value
        is_integer = isinstance(number, int) and not isinstance(number, bool)
        if not is_integer or (least is not None and number < least) or (most is not None and number > most):
            found.append(Problem(at, f"must be {wanted}, {given(value)}"))

    return check


def number(most: int) -> Check:
    """A number from -most to most, which may be written as a string: Meta's schema and its examples disagree."""

    def check(value: Any, at: str, found: list[Problem]) -> None:
        if isinstance(value, bool) or not isinstance(value, str | int | float) or not _is_within(value, most):
            found.append(Problem(at, f"must be a number from -{most} to {most}, {given(value)}"))

    return check


def _is_within(value: str | float, most: int) -> bool:
    try:
        return -most <= float(value) <= most
    except (ValueError, OverflowError):
        return False


def flag(value: Any, at: str, found: list[Problem]) -> None:
    """True or false."""
    if not isinstance(value, bool):
        found.append(Problem(at, f"must be true or false, {given(value)}"))


def link(value: Any, at: str, found: list[Problem]) -> None:
    """An address; whether anything is there only Meta will know."""
    if not isinstance(value, str) or "://" not in value:
        found.append(Problem(at, f'must be a URL such as "https://example.com/a", {given(value)}'))


def word(*words: str) -> Check:
    """One of the words that Meta documents."""
    wanted = f'"{words[0]}"' if len(words) == 1 else f"one of {', '.join(words)}"

    def check(value: Any, at: str, found: list[Problem]) -> None:
        if not isinstance(value, str) or value not in words:
            found.append(Problem(at, f"must be {wanted}, {given(value)}"))

    return check


def forbidden(reason: str) -> Check:
    """A field that must not be there."""

    def check(_value: Any, at: str, found: list[Problem]) -> None:
        found.append(Problem(at, reason))

    return check


def exactly_one(one: str, other: str) -> Check:
    """An object with one of two fields."""

    def check(value: Any, at: str, found: list[Problem]) -> None:
        if (one in value) == (other in value):
            how = "both" if one in value else "neither"
            found.append(Problem(at, f"must have exactly one of {one} and {other}, given {how}"))

    return check


def objects(value: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield place and item of what is an object in a list; what is not was found by the check of the list."""
    if isinstance(value, list):
        yield from ((index, item) for index, item in enumerate(value) if isinstance(item, dict))


def refuse_repeats(values: Iterable[tuple[str, object]], found: list[Problem]) -> None:
    """Add a problem for each string that was there before, at its path."""
    seen: set[str] = set()
    for at, value in values:
        if not isinstance(value, str):
            continue
        if value in seen:
            found.append(Problem(at, f"must be unique, given {shown(value)} again"))
        seen.add(value)

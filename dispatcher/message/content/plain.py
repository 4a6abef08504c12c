"""Plain JSON out of what a producer gave: a copy of its own, or the first place that JSON cannot say.

Foreign kinds and fields pass untouched through here, so this is all that is asked of them.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from dispatcher.message.content.problem import shown

DEPTH_MAX = 32
"""Levels of nesting. Meta's deepest example, a carousel template, has nine."""

INTEGER_BITS_MAX = 1024
"""What no double can hold is no number to anyone who reads the body, and Python refuses to write long ones."""


class NotPlainError(ValueError):
    """The value is not JSON. `path` leads from the value to the place, outermost first."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path: list[str] = []


def plain(value: object, depth: int = 1) -> Any:
    """Return a copy made of dict, list, str, int, float, bool and None only.

    Raises:
        NotPlainError: a number is not finite or too large, a text has half a surrogate pair, a name is no text, an
            object has no JSON form, or the nesting is deeper than `DEPTH_MAX` (as in a value that contains itself).
    """
    copy = _COPIES.get(type(value))
    return copy(value, depth) if copy else _subclass(value, depth)


def _object(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    _refuse_deep(depth)
    copy: dict[str, Any] = {}
    for name, item in value.items():
        if not isinstance(name, str):
            raise NotPlainError(f"a name in an object must be a string, given {shown(name)}")
        try:
            copy[_text(name)] = plain(item, depth + 1)
        except NotPlainError as exc:
            exc.path.insert(0, f".{name}" if name.isidentifier() and len(name) <= 64 else f"[{shown(name)}]")
            raise
    return copy


def _list(value: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
    _refuse_deep(depth)
    copy = []
    for index, item in enumerate(value):
        try:
            copy.append(plain(item, depth + 1))
        except NotPlainError as exc:
            exc.path.insert(0, f"[{index}]")
            raise
    return copy


def _refuse_deep(depth: int) -> None:
    if depth > DEPTH_MAX:
        raise NotPlainError(f"nested deeper than {DEPTH_MAX} levels")


def _text(value: str, _depth: int = 0) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise NotPlainError(f"text with half a surrogate pair, which UTF-8 cannot say: {shown(value)}") from None
    return value


def _number(value: float, _depth: int) -> float:
    if not math.isfinite(value):
        raise NotPlainError(f"must be a finite number, given {value}")
    return value


def _integer(value: int, _depth: int) -> int:
    if value.bit_length() > INTEGER_BITS_MAX:
        raise NotPlainError(f"must be an integer of at most {INTEGER_BITS_MAX} bits, given {value.bit_length()}")
    return value


def _as_is(value: Any, _depth: int) -> Any:
    return value


def _subclass(value: object, depth: int) -> Any:
    """Copy what is only derived from a JSON type: enumerations of text, mapping proxies and the like."""
    if isinstance(value, str):
        return _text(str.__str__(value))
    if isinstance(value, int):
        return _integer(int(value), depth)
    if isinstance(value, float):
        return _number(float(value), depth)
    if isinstance(value, Mapping):
        return _object(value, depth)
    if isinstance(value, list | tuple):
        return _list(value, depth)
    return _refuse(value)


def _refuse(value: object) -> NoReturn:
    raise NotPlainError(f"must be text, a number, true, false, null, a list or an object, given {shown(value)}")


# By exact type, because every node of every message passes here.
_COPIES: dict[type, Callable[[Any, int], Any]] = {
    dict: _object,
    list: _list,
    tuple: _list,
    str: _text,
    int: _integer,
    float: _number,
    bool: _as_is,
    type(None): _as_is,
}

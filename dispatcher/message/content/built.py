"""The contents a producer builds: each is the object that Meta documents, checked when it is made. Knows no kind.

A content is copied as plain JSON, or refused with the first place that JSON cannot say. That is all that is asked of
foreign kinds and fields.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from dispatcher.message.content.shape import Check, ContentError, Object, Problem, record, shown, text

_CONTEXT = record({"message_id": text()}, like='{"message_id": "wamid.…"}')


class Content(dict[str, Any]):
    """A content as Meta documents it, so it goes wherever a pasted one goes; `reply_to` quotes a message by its wamid.

    It is checked once more when it is put into a message, in case somebody changed it.

    Raises:
        ContentError: (a `Refused`) Meta would refuse it; every problem is named by its path.
    """

    def __init__(self, kind: str, value: object, check: Check, reply_to: str | None = None) -> None:
        context = None if reply_to is None else {"message_id": reply_to}
        content = copied(filled(type=kind, context=context) | {kind: value})
        found: list[Problem] = []
        check(content[kind], f"content.{kind}", found)
        check_context(content, kind, found)
        if found:
            raise ContentError(tuple(found))
        super().__init__(content)

    def __repr__(self) -> str:
        """Keep to itself what the recipient is told, as a message does."""
        return f"<{type(self).__name__}>"


def filled(**fields: object) -> dict[str, Any]:
    """Return the fields that were given: None stands for one that was left out."""
    return {name: value for name, value in fields.items() if value is not None}


def copied(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a content made of plain JSON.

    Raises:
        ContentError: JSON cannot say it.
    """
    try:
        copy: dict[str, Any] = _plain(given)
    except NotPlainError as exc:
        raise ContentError((Problem(_place(exc.path), exc.reason),)) from None
    return copy


def check_context(content: Object, kind: str, found: list[Problem]) -> None:
    """Check what a content of this kind replies to, if it says so."""
    if "context" not in content:
        return
    if kind == "reaction":
        found.append(Problem("content.context", "a reaction is no reply: it names its message itself"))
    else:
        _CONTEXT(content["context"], "content.context", found)


def _place(path: list[str]) -> str:
    place = f"content{''.join(path)}"
    return place if len(place) <= 120 else f"{place[:119]}…"


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


def _plain(value: object, depth: int = 1) -> Any:
    """Return a copy made of dict, list, str, int, float, bool and None only.

    Raises:
        NotPlainError: a number is not finite or too large, a text has half a surrogate pair, a name is no text, an
            object has no JSON form, or the nesting is deeper than `DEPTH_MAX` (as in a value that contains itself).
    """
    copy = _COPIES.get(type(value))
    return copy(value, depth) if copy else _subclass(value, depth)


def _copied_object(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    _refuse_deep(depth)
    copy: dict[str, Any] = {}
    for name, item in value.items():
        if not isinstance(name, str):
            raise NotPlainError(f"a name in an object must be a string, given {shown(name)}")
        try:
            copy[_copied_text(name)] = _plain(item, depth + 1)
        except NotPlainError as exc:
            exc.path.insert(0, f".{name}" if name.isidentifier() and len(name) <= 64 else f"[{shown(name)}]")
            raise
    return copy


def _copied_list(value: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
    _refuse_deep(depth)
    copy = []
    for index, item in enumerate(value):
        try:
            copy.append(_plain(item, depth + 1))
        except NotPlainError as exc:
            exc.path.insert(0, f"[{index}]")
            raise
    return copy


def _refuse_deep(depth: int) -> None:
    if depth > DEPTH_MAX:
        raise NotPlainError(f"nested deeper than {DEPTH_MAX} levels")


def _copied_text(value: str, _depth: int = 0) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise NotPlainError(f"text with half a surrogate pair, which UTF-8 cannot say: {shown(value)}") from None
    return value


def _finite(value: float, _depth: int) -> float:
    if not math.isfinite(value):
        raise NotPlainError(f"must be a finite number, given {value}")
    return value


def _short_integer(value: int, _depth: int) -> int:
    if value.bit_length() > INTEGER_BITS_MAX:
        raise NotPlainError(f"must be an integer of at most {INTEGER_BITS_MAX} bits, given {value.bit_length()}")
    return value


def _as_is(value: Any, _depth: int) -> Any:
    return value


def _subclass(value: object, depth: int) -> Any:
    """Copy what is only derived from a JSON type: enumerations of text, mapping proxies and the like."""
    if isinstance(value, str):
        return _copied_text(str.__str__(value))
    if isinstance(value, int):
        return _short_integer(int(value), depth)
    if isinstance(value, float):
        return _finite(float(value), depth)
    if isinstance(value, Mapping):
        return _copied_object(value, depth)
    if isinstance(value, list | tuple):
        return _copied_list(value, depth)
    return _refuse(value)


def _refuse(value: object) -> NoReturn:
    raise NotPlainError(f"must be text, a number, true, false, null, a list or an object, given {shown(value)}")


# By exact type, because every node of every message passes here.
_COPIES: dict[type, Callable[[Any, int], Any]] = {
    dict: _copied_object,
    list: _copied_list,
    tuple: _copied_list,
    str: _copied_text,
    int: _short_integer,
    float: _finite,
    bool: _as_is,
    type(None): _as_is,
}

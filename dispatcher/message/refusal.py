"""Refusals out of what pydantic found: one error that names every problem. Knows the form of its errors alone."""

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from dispatcher import errors
from dispatcher.message import fields
from dispatcher.message.content import ENVELOPE, KINDS, OF_THE_MESSAGE, ContentError, Problem, nearest, shown
from dispatcher.message.content.shape import together

_NEEDED = {
    "number": "is missing: the phone number id or the name of the number to send from",
    "to": 'is missing: a phone number such as "+15551234567", or a user id',
    "content": 'is missing: an object such as {"type": "text", "text": {"body": "Hello"}}',
}


def from_pydantic(exc: ValidationError, given: Any, known: Iterable[str]) -> errors.Refused:
    """Return the refusal of a message that `exc` found wrong; unknown fields first, as they explain missing ones."""
    details = exc.errors(include_url=False, include_input=False)
    details.sort(key=lambda detail: detail["type"] != "extra_forbidden")
    return of([problem for detail in details for problem in _problems(detail, tuple(known))], given)


def of(problems: list[Problem], given: Any) -> errors.Refused:
    """Return one refusal for all problems: `field` and `reason` of the first, the others behind its reason."""
    return errors.Refused(*together(tuple(problems)), _key_of(given))


def with_number(given: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a message's fields with `number` in place of `phone_number_id`.

    Raises:
        Refused: both are given.
    """
    if "number" in given:
        raise of([Problem("phone_number_id", 'is another name for "number": give one of them')], given)
    copy = dict(given)
    copy["number"] = copy.pop("phone_number_id")
    return copy


def _problems(detail: ErrorDetails, known: tuple[str, ...]) -> Iterator[Problem]:
    field = str(detail["loc"][0]) if detail["loc"] else ""
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, ContentError):
        yield from cause.problems
    elif cause is not None:
        yield Problem(field, str(cause))
    elif detail["type"] == "missing":
        yield Problem(field, _NEEDED[field])
    elif detail["type"] == "extra_forbidden":
        yield Problem(_printable_field(field), f"unknown field{_hint(field, known)}")
    else:
        yield Problem(field, detail["msg"])


def _hint(unknown: str, known: tuple[str, ...]) -> str:
    if unknown in OF_THE_MESSAGE:
        return f', use "{OF_THE_MESSAGE[unknown]}"'
    if unknown in KINDS or unknown in ENVELOPE or unknown in {"type", "context"}:
        return ', it belongs into "content"'
    return nearest(unknown, known)


def _printable_field(name: str) -> str:
    return shown(name)[1:-1]


def _key_of(given: Any) -> str | None:
    """Return the key of a refused message, if it has one that holds."""
    try:
        return fields.key(given["key"])
    except (KeyError, TypeError, ValueError):
        return None

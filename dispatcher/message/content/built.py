"""The contents a producer builds: each is the object that Meta documents, checked when it is made. Knows no kind."""

from collections.abc import Mapping
from typing import Any

from dispatcher.message.content.plain import NotPlainError, plain
from dispatcher.message.content.problem import ContentError, Object, Problem
from dispatcher.message.content.shape import Check, record, text

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
        copy: dict[str, Any] = plain(given)
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

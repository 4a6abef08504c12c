"""What all interactive messages have around their action: a header, a body and a footer."""

from collections.abc import Collection, Mapping
from typing import Any, TypedDict

from dispatcher.message.content.built import Content, filled
from dispatcher.message.content.shape import Check, Problem, by_type, forbidden, record, text
from dispatcher.message.content.text_media import DOCUMENT, IMAGE, VIDEO

BODY_CHARACTERS_MAX = 1024
HEADER_CHARACTERS_MAX = 60
FOOTER_CHARACTERS_MAX = 60

Header = str | Mapping[str, Any]
"""A text, or media such as `Image(link="https://…")`."""

_TEXT = record({"text": text(HEADER_CHARACTERS_MAX)})
HEADER = by_type(
    {
        "text": _TEXT,
        "image": record({"image": IMAGE}),
        "video": record({"video": VIDEO}),
        "document": record({"document": DOCUMENT}),
    }
)


def _no_text(_value: Any, at: str, found: list[Problem]) -> None:
    found.append(Problem(f"{at}.type", 'must be "text": this type of message has no other header'))


TEXT_HEADER = by_type({"text": _TEXT, "image": _no_text, "video": _no_text, "document": _no_text})
NO_HEADER = forbidden("has no place here: this type of message has no header")
NO_FOOTER = forbidden("has no place here: this type of message has no footer")

_FOOTER = record({"text": text(FOOTER_CHARACTERS_MAX)}, like='{"text": "Since 1912"}')


def body_of(most: int) -> Check:
    """A body of at most so many characters."""
    return record({"text": text(most)}, like='{"text": "Hello"}')


BODY = body_of(BODY_CHARACTERS_MAX)


def frame(
    action: Check,
    *,
    body: Check = BODY,
    header: Check = HEADER,
    footer: Check = _FOOTER,
    needed: Collection[str] = ("body",),
) -> Check:
    """An interactive object with this action; what is not `needed` of header, body and footer may be left out."""
    parts = {"header": header, "body": body, "footer": footer}
    required = {name: check for name, check in parts.items() if name in needed}
    optional = {name: check for name, check in parts.items() if name not in needed}
    return record(required | {"action": action}, optional)


class Framing(TypedDict, total=False):
    """What may be given with every interactive message; types that cannot have a header or footer refuse it."""

    header: Header | None
    footer: str | None
    reply_to: str | None


class Interactive(Content):
    """An interactive message: its action, and what is around it."""

    def __init__(  # noqa: PLR0913 - the parts Meta documents
        self,
        kind: str,
        action: Mapping[str, Any],
        body: str | None,
        *,
        check: Check,
        header: Header | None = None,
        footer: str | None = None,
        reply_to: str | None = None,
    ) -> None:
        value = filled(
            type=kind,
            header={"type": "text", "text": header} if isinstance(header, str) else header,
            body=None if body is None else {"text": body},
            footer=None if footer is None else {"text": footer},
            action=action,
        )
        super().__init__("interactive", value, check, reply_to)

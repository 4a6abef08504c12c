"""Content as Meta documents it: `type`, its same-named object, and `context`.

One kind is one check in `CHECKS`, in the file of the class that builds it; kinds without one pass untouched, as every
unknown field does. Knows nothing of numbers, recipients, lanes or keys.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic_core import to_json

from dispatcher.message.content.actions import (
    INTERACTIVE,
    Buttons,
    Carousel,
    Catalog,
    CtaUrl,
    Flow,
    List,
    LocationRequest,
    MediaCard,
    Product,
    ProductCard,
    ProductList,
)
from dispatcher.message.content.built import DEPTH_MAX, Content, check_context, copied
from dispatcher.message.content.contacts import CONTACTS, LOCATION, Contact, Contacts, Location
from dispatcher.message.content.shape import Check, ContentError, Object, Problem, nearest, one_of, shown
from dispatcher.message.content.template import (
    TEMPLATE,
    CallButton,
    CatalogButton,
    CopyCode,
    Currency,
    DateTime,
    FlowButton,
    LimitedTimeOffer,
    Otp,
    ProductsButton,
    QuickReply,
    Template,
    TemplateCard,
    UrlButton,
)
from dispatcher.message.content.text_media import (
    AUDIO,
    DOCUMENT,
    IMAGE,
    REACTION,
    STICKER,
    TEXT,
    VIDEO,
    Audio,
    Document,
    Image,
    Reaction,
    Sticker,
    Text,
    Video,
)

__all__ = [
    "BYTES_MAX",
    "CHECKS",
    "DEPTH_MAX",
    "ENVELOPE",
    "KINDS",
    "OF_THE_MESSAGE",
    "Audio",
    "Buttons",
    "CallButton",
    "Carousel",
    "Catalog",
    "CatalogButton",
    "Contact",
    "Contacts",
    "Content",
    "ContentError",
    "CopyCode",
    "CtaUrl",
    "Currency",
    "DateTime",
    "Document",
    "Flow",
    "FlowButton",
    "Image",
    "LimitedTimeOffer",
    "List",
    "Location",
    "LocationRequest",
    "MediaCard",
    "Object",
    "Otp",
    "Problem",
    "Product",
    "ProductCard",
    "ProductList",
    "ProductsButton",
    "QuickReply",
    "Reaction",
    "Sticker",
    "Template",
    "TemplateCard",
    "Text",
    "UrlButton",
    "Video",
    "nearest",
    "one_of",
    "read",
    "shown",
]

BYTES_MAX = 250_000
"""UTF-8 bytes of a content as JSON, so that a whole body stays below 256 kB, the most an arq job may have."""

CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "audio": AUDIO,
        "contacts": CONTACTS,
        "document": DOCUMENT,
        "image": IMAGE,
        "interactive": INTERACTIVE,
        "location": LOCATION,
        "reaction": REACTION,
        "sticker": STICKER,
        "template": TEMPLATE,
        "text": TEXT,
        "video": VIDEO,
    }
)

KINDS = frozenset({*CHECKS, "pin"})
"""The kinds Meta documents. Others pass as well, if they say their `type`."""

ENVELOPE = MappingProxyType({"messaging_product": "whatsapp", "recipient_type": "individual"})
OF_THE_MESSAGE = MappingProxyType(
    {"to": "to", "recipient": "to", "biz_opaque_callback_data": "callback_data", "phone_number_id": "number"}
    # `category` stays out of these: it is also a field of Meta's Direct Send.
    | {name: name for name in ("number", "key", "priority", "campaign", "not_before", "expires_at", "ttl_s")}
    | {name: name for name in ("callback_data", "on_uncertain", "trace", "replaces")}
)


def read(given: object) -> dict[str, Any]:
    """Return the content as it is sent, `type` first and without envelope; the given object is not kept.

    Raises:
        ContentError: it is no content, its kind's check found something, or it is more than `BYTES_MAX` as JSON.
    """
    if not isinstance(given, Mapping):
        raise ContentError((Problem("content", f"must be an object, given {shown(given)}"),))
    copy = copied(given)
    found: list[Problem] = []
    _drop_envelope(copy, found)
    kind = _kind_of(copy, found)
    if kind and kind in CHECKS:
        CHECKS[kind](copy[kind], f"content.{kind}", found)
        check_context(copy, kind, found)
    if found or not kind:
        raise ContentError(tuple(found))
    content = {"type": kind, kind: copy[kind], **copy}
    if (size := len(to_json(content))) > BYTES_MAX:
        raise ContentError((Problem("content", f"must have at most {BYTES_MAX} bytes as JSON, given {size}"),))
    return content


def _drop_envelope(content: dict[str, Any], found: list[Problem]) -> None:
    """Take out what every request has the same, and refuse what the message says itself."""
    for name, only in ENVELOPE.items():
        value = content.pop(name, only)
        if value != only:
            found.append(Problem(f"content.{name}", f'must be "{only}" or left out, given {shown(value)}'))
    found.extend(
        Problem(f"content.{name}", f'does not belong into the content: use the message\'s own field "{own}"')
        for name, own in OF_THE_MESSAGE.items()
        if name in content
    )


def _kind_of(content: Object, found: list[Problem]) -> str | None:
    """Return the kind, given or implied by the only object there; None if something was found wrong with it."""
    kind = content["type"] if "type" in content else _implied_kind(content, found)
    if kind is None and "type" not in content:
        return None
    if not isinstance(kind, str):
        found.append(Problem("content.type", f'must be a string such as "text", given {shown(kind)}'))
        return None
    if not isinstance(content.get(kind), _held_by(kind)):
        guess = "" if kind in KINDS else nearest(kind, KINDS)
        given = f"given {shown(content[kind])}" if kind in content else f"but it is missing{guess}"
        wanted = "a list" if _held_by(kind) is list else "an object"
        found.append(Problem(_path(kind), f"must be {wanted}, as type is {shown(kind)}, {given}"))
        return None
    return kind


def _held_by(kind: str) -> type | tuple[type, ...]:
    if kind == "contacts":
        return list
    return dict if kind in CHECKS else (dict, list)


def _implied_kind(content: Object, found: list[Problem]) -> str | None:
    kinds = sorted(KINDS & content.keys())
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        found.append(Problem("content.type", f"must say which is meant of {', '.join(kinds)}"))
    elif "status" in content:
        found.append(Problem("content", "marks a message as read or shows typing, which is no message and not queued"))
    else:
        found.append(Problem("content.type", 'must be a kind such as "text", next to an object of that name'))
    return None


def _path(kind: str) -> str:
    return f"content.{kind}" if kind in KINDS else f"content[{shown(kind)}]"

"""Content as Meta documents it: `type`, its same-named object, and `context`.

One kind is one function in `CHECKS`, in a file of its own; kinds without one pass untouched, as every unknown field
does. Knows nothing of numbers, recipients, lanes or keys.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from pydantic_core import to_json

from dispatcher.content.plain import DEPTH_MAX, NotPlainError, plain
from dispatcher.content.problem import ContentError, Object, Problem, nearest, one_of, shown
from dispatcher.content.template import check_template
from dispatcher.content.text import check_text

__all__ = [
    "BYTES_MAX",
    "CHECKS",
    "DEPTH_MAX",
    "ENVELOPE",
    "KINDS",
    "OF_THE_MESSAGE",
    "ContentError",
    "Object",
    "Problem",
    "nearest",
    "one_of",
    "read",
    "shown",
]

BYTES_MAX = 250_000
"""UTF-8 bytes of a content as JSON, so that a whole body stays below 256 kB, the most an arq job may have."""

Check = Callable[[Object, str, list[Problem]], None]
"""Takes the kind's object, its path for errors, and the list that gets what is wrong."""

CHECKS: Mapping[str, Check] = MappingProxyType({"template": check_template, "text": check_text})

KINDS = frozenset(
    {
        *CHECKS,
        *("audio", "contacts", "document", "image", "interactive", "location", "pin", "reaction", "sticker", "video"),
    }
)
"""The kinds Meta documents. Others pass as well, if they say their `type`."""

ENVELOPE = MappingProxyType({"messaging_product": "whatsapp", "recipient_type": "individual"})
OF_THE_MESSAGE = MappingProxyType(
    {"to": "to", "recipient": "to", "biz_opaque_callback_data": "callback_data", "phone_number_id": "number"}
    # `category` stays out of these: it is also a field of Meta's Direct Send.
    | {name: name for name in ("number", "key", "priority", "campaign", "not_before", "expires_at", "ttl_s")}
    | {name: name for name in ("callback_data", "on_uncertain", "trace")}
)


def read(given: object) -> dict[str, Any]:
    """Return the content as it is sent, `type` first and without envelope; the given object is not kept.

    Raises:
        ContentError: it is no content, its kind's check found something, or it is more than `BYTES_MAX` as JSON.
    """
    if not isinstance(given, Mapping):
        raise ContentError((Problem("content", f"must be an object, given {shown(given)}"),))
    try:
        copy = plain(given)
    except NotPlainError as exc:
        raise ContentError((Problem(_place(exc.path), exc.reason),)) from None
    found: list[Problem] = []
    _drop_envelope(copy, found)
    kind = _kind_of(copy, found)
    if kind and kind in CHECKS:
        CHECKS[kind](copy[kind], f"content.{kind}", found)
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
    holds = dict if kind in CHECKS else (dict, list)
    if not isinstance(content.get(kind), holds):
        guess = "" if kind in KINDS else nearest(kind, KINDS)
        given = f"given {shown(content[kind])}" if kind in content else f"but it is missing{guess}"
        found.append(Problem(_path(kind), f"must be an object, as type is {shown(kind)}, {given}"))
        return None
    return kind


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


def _place(path: list[str]) -> str:
    place = f"content{''.join(path)}"
    return place if len(place) <= 120 else f"{place[:119]}…"


def _path(kind: str) -> str:
    return f"content.{kind}" if kind in KINDS else f"content[{shown(kind)}]"

"""What stands in a webhook, one value an update, in our words. Knows no JSON; `reading` does."""

import re
from dataclasses import dataclass

# What this package appends to each POST, and Meta echoes in every status: version, claim number and key.
_OURS = re.compile(r"d1:(\d{1,9}):([A-Za-z0-9._:@/+=-]{1,128})")


@dataclass(frozen=True, slots=True)
class Receipt:
    """A status of a message: `status` is sent, delivered, read, played, failed, or something newer.

    `recipient` is a phone with `+`, a business-scoped user id, or empty; `code` and `error` are those of a failure,
    `pricing` is Meta's object as compact JSON or empty, `at_s` Meta's time in seconds since 1970.
    """

    wamid: str
    status: str
    at_s: int
    number: str
    waba: str
    recipient: str = ""
    callback: str = ""
    code: int | None = None
    error: str = ""
    pricing: str = ""

    @property
    def key(self) -> str:
        """The key of the message, or empty if another program sent it."""
        found = _OURS.fullmatch(self.callback)
        return found[2] if found else ""

    @property
    def claim(self) -> int:
        """The claim that posted it; 0 if another program did."""
        found = _OURS.fullmatch(self.callback)
        return int(found[1]) if found else 0


@dataclass(frozen=True, slots=True)
class Inbound:
    """A message of a person to a number; `text` is what they wrote or tapped, `raw` all of it as compact JSON."""

    wamid: str
    sender: str
    number: str
    waba: str
    at_s: int
    kind: str
    text: str
    raw: str


@dataclass(frozen=True, slots=True)
class Preference:
    """A person wants no more of a category (`stops`), or wants it again."""

    recipient: str
    number: str
    waba: str
    category: str
    stops: bool
    at_s: int
    reason: str


@dataclass(frozen=True, slots=True)
class Notice:
    """News of a template, a number's quality or an account: Meta's `field` and its value as compact JSON."""

    field: str
    waba: str
    at_s: int
    raw: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An update that could not be read, kept as it came; `is_receipt` if a status may be lost with it."""

    reason: str
    raw: str
    is_receipt: bool


Update = Receipt | Inbound | Preference | Notice | Unreadable

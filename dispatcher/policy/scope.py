"""The scope of a stop: what it covers, as one value that is parsed, written and compared. Pure."""

import difflib
import re
from dataclasses import dataclass
from typing import Final, Self

from dispatcher import errors
from dispatcher.message.message import label

_LANES = "urgent|normal|bulk"
_NAMED = {
    "all": re.compile(r""),
    "number": re.compile(r"\d+"),
    "lane": re.compile(rf"\d+:({_LANES})"),
    "waba": re.compile(r"\d+"),
    "credential": re.compile(r"[0-9a-f]+"),
    "template": re.compile(r"\d*:\S+"),
    "campaign": re.compile(r"\S+"),
}
KINDS: Final = tuple(_NAMED)
FORMS: Final = (
    "all, number:<id>, lane:<id>:<priority>, waba:<id>, credential:<fingerprint>, template:<waba>:<name>, "
    "campaign:<name>"
)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a stop covers: a kind of `KINDS` and which one, such as `lane` and `106540352242922:bulk`."""

    kind: str
    name: str = ""

    def __str__(self) -> str:
        """Write the scope as stops keep it: long names as messages carry them, so that they meet."""
        if self.kind == "template":
            waba_id, _, name = self.name.partition(":")
            return f"template:{waba_id}:{label(name)}"
        if self.kind == "campaign":
            return f"campaign:{label(self.name)}"
        return f"{self.kind}:{self.name}" if self.name else self.kind

    @classmethod
    def of(cls, text: str) -> Self:
        """Read what stands in the cell, whatever it is."""
        kind, _, name = text.partition(":")
        return cls(kind, name)

    @property
    def holds_messages(self) -> bool:
        """Whether it covers single messages of any number; those are parked, all others wait where they are."""
        return self.kind in {"template", "campaign"}

    def concerns(self, number: str, *, waba_id: str, credential: str) -> bool:
        """Whether it covers a number or one of its lanes; `credential` is the fingerprint of its token."""
        match self.kind:
            case "all":
                return not self.name
            case "number":
                return self.name == number
            case "lane":
                return self.name.partition(":")[0] == number
            case "waba":
                return bool(waba_id) and self.name == waba_id
            case "credential":
                return bool(credential) and self.name == credential
            case _:
                return False

    def covers_lane(self, number: str, lane: str) -> bool:
        """Whether it covers this lane and no other."""
        return self.kind == "lane" and self.name == f"{number}:{lane}"


def parse(text: str) -> Scope:
    """Read a scope that a person gave.

    Raises:
        Refused: it is none; says which there are, and the nearest.
    """
    kind, _, name = text.partition(":")
    if kind not in _NAMED:
        near = difflib.get_close_matches(kind, _NAMED, n=1)
        hint = f", did you mean {near[0]}?" if near else "."
        raise errors.Refused("scope", f'"{text}" is none{hint} Scopes are {FORMS}')
    if not _NAMED[kind].fullmatch(name):
        raise errors.Refused("scope", f'"{text}" is not complete. Scopes are {FORMS}')
    return Scope(kind, name)

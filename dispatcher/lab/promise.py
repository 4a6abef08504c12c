"""One promise of the demo, and how what broke it is put in words; pure."""

from dataclasses import dataclass
from typing import Final

_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise in words, and what broke it; nothing, if it held."""

    name: str
    words: str
    broken: tuple[str, ...]

    @property
    def is_held(self) -> bool:
        """Whether nothing broke it."""
        return not self.broken


def said(*troubles: tuple[str, list[str]]) -> tuple[str, ...]:
    """Put what broke a promise in words, and name some."""
    return tuple(
        f"{what}: {', '.join(who[:_NAMED])}" + (f" and {len(who) - _NAMED} more" if len(who) > _NAMED else "")
        for what, who in troubles
        if who
    )

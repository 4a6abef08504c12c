"""How large the demo is and how it speaks; plain values."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dispatcher import errors

# Beside the campaign's own time: the takeover, the leases of what the killed worker had in flight, and what it takes to
# resolve the uncertain, up to the last look at them after eight windows.
_REST_S: Final = 50.0
_MOST: Final = {"messages": 1_000_000, "numbers": 100, "workers": 16}


@dataclass(frozen=True, slots=True)
class Options:
    """`rate` is in messages a second and number; `server` a redis-server to run instead of the embedded one.

    Raises:
        SettingsError: A size is out of its range.
    """

    messages: int = 2000
    numbers: int = 3
    rate: float = 80
    workers: int = 2
    server: Path | None = None
    json: bool = False

    def __post_init__(self) -> None:
        problems = [
            f"--{name}: {getattr(self, name)} is wrong; give a whole number from 1 to {most}"
            for name, most in _MOST.items()
            if not 1 <= getattr(self, name) <= most
        ]
        if not 1 <= self.rate <= 1000:
            problems.append(f"--rate: {self.rate:g} is wrong; give messages a second from 1 to 1000")
        if problems:
            raise errors.SettingsError(tuple(problems))

    @property
    def limit_s(self) -> float:
        """Seconds after which the demo judges what there is: twice what the campaign needs, and the rest."""
        return 2 * self.messages / (self.numbers * self.rate) + _REST_S

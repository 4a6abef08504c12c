"""What a run left behind, as plain values: all that the verdict and the figures are made from.

Times are in seconds of one clock, this process's monotonic one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

CAMPAIGN: Final = "campaign"
CODE: Final = "code"
LANES: Final = {CODE: "urgent", CAMPAIGN: "bulk"}
"""What a key begins with, and the lane of its message."""
LATENCY_S: Final = 0.15
"""How long the simulator takes to answer."""
LEASE_ENDED: Final = "lease ended"
"""The error of a message whose worker settled nothing until its lease was over."""


def kind_of(key: str) -> str:
    """Return what the message is part of: the campaign or the one-time passwords."""
    return key.partition("-")[0]


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that a producer was told is queued; `at_s` is when the producer began to send it."""

    key: str
    number: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Post:
    """A POST as the simulator saw it; without a `status` it was never answered. `wamid` if it was accepted."""

    key: str
    claim: int
    number: str
    at_s: float
    outcome: str
    status: int | None
    wamid: str | None


@dataclass(frozen=True, slots=True)
class Window:
    """A number in the simulator's books: its rate, its fullest window, and what was refused for the rate."""

    rate: float
    largest: int
    refused: int


@dataclass(frozen=True, slots=True)
class Fate:
    """How Redis says that a message stands."""

    state: str
    cause: str = ""
    error: str = ""
    wamid: str = ""


@dataclass(frozen=True, slots=True)
class Kill:
    """A worker was killed; `sending` are the claims that were under way as it died, its own and those of others.

    `numbers` are those that no living worker served then: its own, and those that nobody had, be it because what would
    open their gate again was in its hands.
    """

    at_s: float
    worker: str
    numbers: tuple[str, ...]
    sending: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Exit:
    """How a worker ended that was asked to; without a `code` it had not when its time was over."""

    worker: str
    code: int | None
    took_s: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything.

    `fates` and `uncertain_at_s` come from Redis; `posts`, `windows` and `overlapping` from the simulator; `troubles`
    are the errors that the workers logged.
    """

    sent: Mapping[str, Sent]
    fates: Mapping[str, Fate]
    uncertain_at_s: Mapping[str, float]
    posts: tuple[Post, ...]
    windows: Mapping[str, Window]
    overlapping: int
    kill: Kill
    exits: tuple[Exit, ...]
    seconds: float
    troubles: tuple[str, ...] = ()

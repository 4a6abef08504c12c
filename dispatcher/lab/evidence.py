"""What a run left behind, as plain values: all that the judge and the figures are made from.

Times are in seconds of one clock, this process's monotonic one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

CAMPAIGN: Final = "campaign"
CODE: Final = "code"
LATE_CAMPAIGN: Final = "late_campaign"
LATE_CODE: Final = "late_code"
LATE: Final = {CAMPAIGN: LATE_CAMPAIGN, LATE_CODE: LATE_CODE, CODE: LATE_CODE, LATE_CAMPAIGN: LATE_CAMPAIGN}
"""What is sent later where a message of a kind is uncertain: the same template, whose receipts are the proof."""
LANES: Final = {CODE: "urgent", LATE_CODE: "urgent", CAMPAIGN: "bulk", LATE_CAMPAIGN: "bulk"}
"""What a key begins with, and the lane of its message."""
LATENCY_S: Final = 0.15
"""How long the simulator takes to answer."""
LEASE_ENDED: Final = "lease ended"
"""The error of a message whose worker settled nothing until its lease was over."""
RECEIPTS: Final = ("sent", "delivered", "read")
"""What Meta says of a message that it accepted, in this order."""
TAKEN: Final = ("accepted", *RECEIPTS, "played")
"""The states of an accepted message, in the order in which they can only move forward."""


class Way(StrEnum):
    """How an uncertain send was resolved."""

    RECEIPT = "receipt"
    """A receipt came: it was accepted."""
    ABSENCE = "absence"
    """A receipt would have come: it was not accepted, and is sent again."""
    UNPROVEN = "unproven"
    """It was sent again without proof."""
    HELD = "held"
    """There was no proof: a person decides."""
    OTHERWISE = "otherwise"
    """It was settled in another way, such as by an answer that came after all."""
    OPEN = "open"
    """It is not."""


def kind_of(key: str) -> str:
    """Return what the message is part of: the campaign, the one-time passwords, or what came later of either."""
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
    """A number in the simulator's ledger: its rate, its fullest window, and what was refused for the rate."""

    rate: float
    largest: int
    refused: int


@dataclass(frozen=True, slots=True)
class FinalState:
    """How Redis says that a message stands."""

    state: str
    cause: str = ""
    error: str = ""
    wamid: str = ""


@dataclass(frozen=True, slots=True)
class UncertainSend:
    """A send that was uncertain from `at_s` on, because of `error`; `decided_at_s` is when that was over.

    `ended_at_s` is the end of its story: for what was sent again, when that came to something. Of what is held, `why`
    says which proof was missing.
    """

    key: str
    at_s: float
    error: str = ""
    way: Way = Way.OPEN
    decided_at_s: float | None = None
    ended_at_s: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Webhooks:
    """What the simulator says of its webhooks: how many, and statuses by kind, each counted once.

    `refused` are tries that were not answered 200, `waiting` the updates that were not delivered, `lost` the kinds of
    statuses that were lost by setting.
    """

    made: int
    duplicated: int
    refused: int
    waiting: int
    statuses: Mapping[str, int]
    slowest_ms: float | None = None
    lost: frozenset[str] = frozenset()


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
    """How a worker, or the API, ended that was asked to; without a `code` it had not in time."""

    process: str
    code: int | None
    took_s: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything.

    `states`, `uncertain_sends`, `receipts` (by key) and `accepted_by_receipt` come from Redis; `posts`, `windows`,
    `overlapping` and `webhooks` from the simulator; `troubles` are the errors that the workers and the API logged.
    `accepted_by_receipt` are the messages whose acceptance became known by a receipt, not by an answer.
    """

    sent: Mapping[str, Sent]
    states: Mapping[str, FinalState]
    uncertain_sends: tuple[UncertainSend, ...]
    receipts: Mapping[str, frozenset[str]]
    accepted_by_receipt: frozenset[str]
    posts: tuple[Post, ...]
    windows: Mapping[str, Window]
    overlapping: int
    webhooks: Webhooks
    kill: Kill
    exits: tuple[Exit, ...]
    seconds: float
    troubles: tuple[str, ...] = ()

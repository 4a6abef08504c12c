"""What a POST ended in, and what that means for the number's gate: plain values, no behaviour."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Answer:
    """Meta's edge answered: `body` is the parsed JSON, or None where it is empty, half or no JSON."""

    status: int
    body: object


@dataclass(frozen=True, slots=True)
class Unsent:
    """The cause of the failure proves that no request left."""

    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The request may have been read, but no whole answer came."""

    reason: str


Reply = Answer | Unsent | Lost


@dataclass(frozen=True, slots=True)
class Accepted:
    """Meta took the message and gave it an id. Costs an attempt."""

    wamid: str
    held: bool = False


@dataclass(frozen=True, slots=True)
class RetryLater:
    """Not taken, may be later: due again `after_s` seconds from now. Costs an attempt."""

    after_s: float
    error: str


@dataclass(frozen=True, slots=True)
class Snooze:
    """Not taken for a reason that is not the message's: back to its own place, or due `after_s` seconds from now.

    Costs no attempt.
    """

    error: str
    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Reject:
    """Refused for good. Costs an attempt."""

    error: str


@dataclass(frozen=True, slots=True)
class Uncertain:
    """May have been accepted. Costs an attempt; never posted again without leave."""

    error: str


Outcome = Accepted | RetryLater | Snooze | Reject | Uncertain


class Why(StrEnum):
    """Why a gate is closed."""

    THROTTLED = "throttled"
    CREDENTIAL = "credential"
    UNREACHABLE = "unreachable"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True)
class Close:
    """Nothing more may leave this number for `for_s` seconds, then one message first."""

    why: Why
    for_s: float


@dataclass(frozen=True, slots=True)
class Doubt:
    """One more uncertain answer; the fifth in a row closes the gate for `for_s` seconds."""

    for_s: float


@dataclass(frozen=True, slots=True)
class Open:
    """The endpoint does its work for this number: doubts and backoff start anew."""


GateChange = Close | Doubt | Open


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome for the message and a change for the gate; None leaves the gate as it is.

    `code` is the Graph error code, or a short name where there is none, for metrics and logs.
    """

    outcome: Outcome
    gate: GateChange | None
    code: str

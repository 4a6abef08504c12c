"""The words for where a message is: states, and what a dead one died of. Knows nothing of how it gets there."""

from enum import StrEnum


class State(StrEnum):
    """Where a message is; it only ever moves forward, except back to `queued` before it is settled."""

    QUEUED = "queued"
    SENDING = "sending"
    UNCERTAIN = "uncertain"
    ACCEPTED = "accepted"
    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    PLAYED = "played"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SUPPRESSED = "suppressed"
    DEAD = "dead"

    @property
    def is_settled(self) -> bool:
        """Nothing more will be posted, unless a later failure of an accepted message allows it."""
        return self not in _UNSETTLED


_UNSETTLED = frozenset({State.QUEUED, State.SENDING, State.UNCERTAIN})


class Cause(StrEnum):
    """Why a dead message needs a person."""

    REJECTED = "rejected"
    """Meta refused it for good."""
    EXHAUSTED = "exhausted"
    """Its attempts are used up."""
    HELD = "held"
    """It stayed uncertain, and sending it again could send it twice."""
    FAILED = "failed"
    """It was accepted, and a receipt said later that it failed."""
    LAPSED = "lapsed"
    """Its worker died three times while sending it."""
    LOST = "lost"
    """Its body is gone."""

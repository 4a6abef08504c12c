"""Priorities and what each lane does unless a message says otherwise. Knows no message and no Redis."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

_MINUTE_S = 60
_HOUR_S = 60 * _MINUTE_S
_DAY_S = 24 * _HOUR_S

DEAD_KEPT_S = 30 * _DAY_S
"""How long a dead message and its body wait for a person, in every lane."""


class Priority(StrEnum):
    """Which lane of its number a message waits in."""

    URGENT = "urgent"
    NORMAL = "normal"
    BULK = "bulk"


LANE_OF: Mapping[Priority, int] = MappingProxyType({Priority.URGENT: 0, Priority.NORMAL: 1, Priority.BULK: 2})
"""The lane's place in the order of claiming: 0 is served first."""


class Category(StrEnum):
    """What a message is for, as Meta names it; opting out works by category."""

    AUTHENTICATION = "authentication"
    UTILITY = "utility"
    MARKETING = "marketing"
    SERVICE = "service"


class OnUncertain(StrEnum):
    """What to do when the answer to a POST was lost."""

    EVIDENCE = "evidence"
    """Post again only once it is proved that the first was not accepted."""
    RESEND = "resend"
    """Post again after the window, at the price of a possible second message."""


@dataclass(frozen=True, slots=True)
class LaneDefaults:
    """What holds in a lane where the message does not say; all times in seconds.

    `ttl_s` is the time to live, `record_kept_s` how long a settled message is known (and its key recognised),
    `body_kept_s` how long the body stays after acceptance, for a send that fails later.
    """

    ttl_s: int
    record_kept_s: int
    body_kept_s: int
    category: Category
    on_uncertain: OnUncertain


LANE_DEFAULTS: Mapping[Priority, LaneDefaults] = MappingProxyType(
    {
        # One-time passwords: a late code is useless, a second one harmless, and a code should not lie about.
        Priority.URGENT: LaneDefaults(
            ttl_s=5 * _MINUTE_S,
            record_kept_s=_DAY_S,
            body_kept_s=0,
            category=Category.AUTHENTICATION,
            on_uncertain=OnUncertain.RESEND,
        ),
        # A second "your order has shipped" is worse than a late one; most failures are known within minutes.
        Priority.NORMAL: LaneDefaults(
            ttl_s=_DAY_S,
            record_kept_s=7 * _DAY_S,
            body_kept_s=15 * _MINUTE_S,
            category=Category.UTILITY,
            on_uncertain=OnUncertain.EVIDENCE,
        ),
        # Campaigns: as patient as normal, and counted against the opt-outs of marketing.
        Priority.BULK: LaneDefaults(
            ttl_s=_DAY_S,
            record_kept_s=7 * _DAY_S,
            body_kept_s=15 * _MINUTE_S,
            category=Category.MARKETING,
            on_uncertain=OnUncertain.EVIDENCE,
        ),
    }
)

"""Arithmetic of a number's gate: its token bucket, and how many of its POSTs may be in flight.

The claim script keeps the bucket and its clock; this module only says how large and how fast.

Why these figures (design, flow, step 4). R is the rate a number may send at, B the bucket's size, r its refill, all in
messages and seconds, and J the unevenness of the way from claim to wire (25 ms). Requests that leave within one
second were claimed within 1 + J seconds, so there are at most B + r * (1 + J) of them. They are whole, so no
window holds more than R as long as that stays below R + 1:

    r <= (R - B + 1) / (1 + J)

With B = 1 + 0.015 * R this is r <= 0.985 * R / 1.025 = 0.9609 * R; hence r = 0.96 * R. The 1 lets the slowest number
send at all, the 0.015 * R (15 ms of rate) makes up for claims that come late. Measured: 96 % used; a bucket of 2 % with
a full refill reached 81 at 80 a second, and 1,019 at 1,000.
"""

import math
from dataclasses import dataclass

BUCKET_S = 0.015
REFILL_SHARE = 0.96

# Answers that take up to two seconds still use the whole rate; a tenth of that is kept for each higher lane.
BULK_S = 2.0
NORMAL_S = 2.2
URGENT_S = 2.4


@dataclass(frozen=True, slots=True)
class Room:
    """POSTs of one number that may be in flight, all lanes counted together, when the next is of this lane."""

    urgent: int
    normal: int
    bulk: int


def bucket_size(rate: float) -> float:
    """Return how many tokens the bucket of a number holds that may send `rate` messages a second."""
    return 1 + BUCKET_S * rate


def refill_rate(rate: float) -> float:
    """Return how many tokens a second flow into the bucket of a number that may send `rate` messages a second."""
    return REFILL_SHARE * rate


def room(rate: float, *, most: int) -> Room:
    """Return the room of a number that may send `rate` messages a second, in a process that allows it `most` POSTs.

    Each higher lane has at least one place more than the one below, however slow the number: 1, 2 and 3 at the least,
    even where `most` is less.
    """
    bulk = max(1, _places(rate, BULK_S))
    normal = max(bulk + 1, _places(rate, NORMAL_S))
    urgent = max(normal + 1, _places(rate, URGENT_S))
    if urgent <= most:
        return Room(urgent=urgent, normal=normal, bulk=bulk)
    urgent = max(3, most)
    normal = max(2, min(urgent - 1, most * 9 // 10))
    return Room(urgent=urgent, normal=normal, bulk=max(1, min(normal - 1, most * 8 // 10)))


def _places(rate: float, seconds: float) -> int:
    """Return `seconds` of `rate`, rounded up; rounded first, as 2.2 * 80 is a hair above 176."""
    return math.ceil(round(rate * seconds, 6))

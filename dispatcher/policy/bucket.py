"""A number's gate, as a process that serves the number sees it: its bucket, and how many POSTs may be in flight.

The rate stands in the gate, and what follows from it is worked out there (`bucket_of` in
`store/lua/shared/base.lua`); a claim brings both.
"""

import math
from dataclasses import dataclass

# The largest rate a number can have; it means that nothing is paced, and `most` alone bounds what is in flight.
UNPACED_PER_S = 100_000

# Answers that take up to two seconds still use the whole rate; a tenth of that is kept for each higher lane.
BULK_S = 2.0
NORMAL_S = 2.2
URGENT_S = 2.4


@dataclass(frozen=True, slots=True)
class Bucket:
    """What a number may send: `rate_per_s` messages a second, by a bucket of `size` tokens and its refill."""

    rate_per_s: float
    size: float
    refill_per_s: float


@dataclass(frozen=True, slots=True)
class Room:
    """POSTs of one number that may be in flight, all lanes counted together, when the next is of this lane."""

    urgent: int
    normal: int
    bulk: int


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

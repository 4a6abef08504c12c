"""Troubles by seed and probability, and for each whether the message was accepted; knows no sockets."""

import random
from dataclasses import asdict, dataclass
from enum import Enum
from typing import NamedTuple


class Effect(Enum):
    """What a fault does on the wire."""

    REFUSE = "the answer is given, then the listening socket is closed for a while"
    RESET = "a reset instead of an answer"
    CLOSE = "an orderly end of the connection instead of an answer"
    HANG = "no answer, the connection stays open"
    GRAPH_5XX = "a 5xx with Graph's error body"
    BARE_5XX = "a 5xx with an empty body"
    HTML = "a 502 with a page for people"
    EMPTY = "a 200 with an empty body"
    HALF_HEAD = "half a head, then an orderly end"
    HALF_BODY = "half of the body that Content-Length announces, then an orderly end"
    THROTTLE = "130429 although the number is within its limit"
    REDIRECT = "a 307 to the same place"


class Fault(NamedTuple):
    """One trouble: where `is_accepted`, the message was taken whatever the caller is told."""

    name: str
    is_accepted: bool
    effect: Effect


KINDS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("refuse", is_accepted=True, effect=Effect.REFUSE),
        Fault("reset_before", is_accepted=False, effect=Effect.RESET),
        Fault("reset_after", is_accepted=True, effect=Effect.RESET),
        Fault("close_before", is_accepted=False, effect=Effect.CLOSE),
        Fault("close_after", is_accepted=True, effect=Effect.CLOSE),
        Fault("hang_before", is_accepted=False, effect=Effect.HANG),
        Fault("hang_after", is_accepted=True, effect=Effect.HANG),
        Fault("error_5xx", is_accepted=False, effect=Effect.GRAPH_5XX),
        Fault("error_5xx_after", is_accepted=True, effect=Effect.GRAPH_5XX),
        Fault("bare_5xx", is_accepted=False, effect=Effect.BARE_5XX),
        Fault("bare_5xx_after", is_accepted=True, effect=Effect.BARE_5XX),
        Fault("html", is_accepted=False, effect=Effect.HTML),
        Fault("html_after", is_accepted=True, effect=Effect.HTML),
        Fault("empty_200", is_accepted=True, effect=Effect.EMPTY),
        Fault("half_head", is_accepted=True, effect=Effect.HALF_HEAD),
        Fault("half_body", is_accepted=True, effect=Effect.HALF_BODY),
        Fault("throttle", is_accepted=False, effect=Effect.THROTTLE),
        Fault("redirect", is_accepted=False, effect=Effect.REDIRECT),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How probable each fault is for a POST; at most one hits it, so the probabilities add up to 1 at most.

    Raises:
        ValueError: A probability is below 0, or all of them add up to more than 1.
    """

    seed: int = 0
    refuse_for_s: float = 0.5

    refuse: float = 0.0
    reset_before: float = 0.0
    reset_after: float = 0.0
    close_before: float = 0.0
    close_after: float = 0.0
    hang_before: float = 0.0
    hang_after: float = 0.0
    error_5xx: float = 0.0
    error_5xx_after: float = 0.0
    bare_5xx: float = 0.0
    bare_5xx_after: float = 0.0
    html: float = 0.0
    html_after: float = 0.0
    empty_200: float = 0.0
    half_head: float = 0.0
    half_body: float = 0.0
    throttle: float = 0.0
    redirect: float = 0.0

    def __post_init__(self) -> None:
        chances = self.chances()
        if any(not 0 <= chance <= 1 for chance in chances.values()) or sum(chances.values()) > 1 + 1e-9:
            raise ValueError(f"probabilities lie between 0 and 1 and add up to 1 at most: {chances}")

    def chances(self) -> dict[str, float]:
        """The probabilities above zero, by name of the fault."""
        return {name: value for name, value in asdict(self).items() if name in KINDS and value != 0}


class Dice:
    """Draws faults. One draw a POST, so that the n-th POST after a seed meets the same fault again."""

    GRAPH_5XX_CODES = (1, 2, 131000, 131016)
    BARE_STATUSES = (500, 502, 503, 504)

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._random = random.Random(faults.seed)  # noqa: S311 - a test that can be repeated, no secret
        self._steps: list[tuple[float, Fault]] = []
        reached = 0.0
        for name, chance in faults.chances().items():
            reached += chance
            self._steps.append((reached, KINDS[name]))

    def draw(self) -> Fault | None:
        """The fault of the next POST, mostly none."""
        if not self._steps:
            return None
        drawn = self._random.random()
        return next((fault for reached, fault in self._steps if drawn < reached), None)

    def graph_code(self) -> int:
        """Which code a 5xx with Graph's body carries."""
        return self._random.choice(self.GRAPH_5XX_CODES)

    def bare_status(self) -> int:
        """Which status a 5xx without a body has."""
        return self._random.choice(self.BARE_STATUSES)

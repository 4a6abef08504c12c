"""What goes wrong: faults by chance, and rules that tests set for certain POSTs. Knows no sockets."""

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from enum import Enum
from typing import NamedTuple, Self

NS_PER_S = 1_000_000_000


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
    """One fault: where `is_accepted`, the message was accepted, whatever the caller is told."""

    name: str
    is_accepted: bool
    effect: Effect


FAULTS: dict[str, Fault] = {
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
        return {name: value for name, value in asdict(self).items() if name in FAULTS and value != 0}

    @classmethod
    def parse(cls, flags: Iterable[str], seed: int) -> Self:
        """The faults of flags of the form NAME=CHANCE.

        Raises:
            ValueError: There is no such fault, or its chance is no probability.
        """
        chances: dict[str, float] = {}
        for flag in flags:
            name, _, chance = flag.partition("=")
            if name not in FAULTS:
                raise ValueError(f"no fault {name!r}; there is {', '.join(FAULTS)}")
            try:
                chances[name] = float(chance)
            except ValueError:
                raise ValueError(f"--fault {flag!r}: write NAME=CHANCE, such as {name}=0.01") from None
        return cls(seed=seed, **chances)


class FaultSampler:
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
            self._steps.append((reached, FAULTS[name]))

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


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRule:
    """What every matching POST gets: a Graph error by `code`, a `fault` by name, or acceptance with a `message_status`.

    What is None matches everything, or has no end. With `is_accepted` the message counts as accepted although the
    caller is told of an error.

    Raises:
        ValueError: Not exactly one of code, fault and message_status is given, or there is no such fault.
    """

    code: int | None = None
    fault: str | None = None
    message_status: str | None = None
    http_status: int | None = None
    subcode: int | None = None
    details: str | None = None
    is_accepted: bool = False
    number: str | None = None
    to: str | None = None
    template: str | None = None
    for_s: float | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        if sum(answer is not None for answer in (self.code, self.fault, self.message_status)) != 1:
            raise ValueError("a rule has exactly one of code, fault and message_status")
        if self.fault is not None and self.fault not in FAULTS:
            raise ValueError(f"no fault is called {self.fault!r}; there are {', '.join(FAULTS)}")

    def covers(self, number: str, to: str, template: str) -> bool:
        """Whether a POST of this number, recipient and template ("" if none) is meant."""
        return self.number in {None, number} and self.to in {None, to} and self.template in {None, template}


class _ActiveRule:
    """A rule that is in force, and how much is left of it."""

    __slots__ = ("left_count", "rule", "until_ns")

    def __init__(self, rule: AnswerRule, now_ns: int) -> None:
        self.rule = rule
        self.until_ns = None if rule.for_s is None else now_ns + int(rule.for_s * NS_PER_S)
        self.left_count = rule.count

    def is_over(self, now_ns: int) -> bool:
        return self.left_count == 0 or (self.until_ns is not None and now_ns >= self.until_ns)


class Rules:
    """The rules in force. The oldest one that covers a POST decides."""

    def __init__(self, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock_ns = clock_ns
        self._active: list[_ActiveRule] = []

    def add(self, rule: AnswerRule) -> None:
        """Put a rule into force, from now on."""
        self._active.append(_ActiveRule(rule, self._clock_ns()))

    def clear(self) -> None:
        """Lift all rules."""
        self._active.clear()

    def __len__(self) -> int:
        self._drop_expired(self._clock_ns())
        return len(self._active)

    def match(self, number: str, to: str, template: str, now_ns: int) -> AnswerRule | None:
        """The rule for this POST, if any; uses up one of its count."""
        if not self._active:
            return None
        self._drop_expired(now_ns)
        for active in self._active:
            if active.rule.covers(number, to, template):
                if active.left_count is not None:
                    active.left_count -= 1
                return active.rule
        return None

    def _drop_expired(self, now_ns: int) -> None:
        self._active = [active for active in self._active if not active.is_over(now_ns)]

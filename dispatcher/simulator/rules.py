"""Answers ordered for a number, recipient or template, for a while or a count; the clock is passed in."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from dispatcher.simulator.faults import KINDS

NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
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
        if self.fault is not None and self.fault not in KINDS:
            raise ValueError(f"no fault is called {self.fault!r}; there are {', '.join(KINDS)}")

    def covers(self, number: str, to: str, template: str) -> bool:
        """Whether a POST of this number, recipient and template ("" if none) is meant."""
        return self.number in {None, number} and self.to in {None, to} and self.template in {None, template}


class _Standing:
    """A rule that is in force, and how much is left of it."""

    __slots__ = ("left_count", "rule", "until_ns")

    def __init__(self, rule: Rule, now_ns: int) -> None:
        self.rule = rule
        self.until_ns = None if rule.for_s is None else now_ns + int(rule.for_s * NS_PER_S)
        self.left_count = rule.count

    def is_over(self, now_ns: int) -> bool:
        return self.left_count == 0 or (self.until_ns is not None and now_ns >= self.until_ns)


class Rules:
    """The rules in force. The oldest one that covers a POST decides."""

    def __init__(self, clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock_ns = clock_ns
        self._standing: list[_Standing] = []

    def add(self, rule: Rule) -> None:
        """Put a rule into force, from now on."""
        self._standing.append(_Standing(rule, self._clock_ns()))

    def clear(self) -> None:
        """Lift all rules."""
        self._standing.clear()

    def __len__(self) -> int:
        self._drop_what_is_over(self._clock_ns())
        return len(self._standing)

    def match(self, number: str, to: str, template: str, now_ns: int) -> Rule | None:
        """The rule for this POST, if any; uses up one of its count."""
        if not self._standing:
            return None
        self._drop_what_is_over(now_ns)
        for standing in self._standing:
            if standing.rule.covers(number, to, template):
                if standing.left_count is not None:
                    standing.left_count -= 1
                return standing.rule
        return None

    def _drop_what_is_over(self, now_ns: int) -> None:
        self._standing = [standing for standing in self._standing if not standing.is_over(now_ns)]

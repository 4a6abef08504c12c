"""What the simulator saw: each POST by key and claim, how near each number came to its limit, what its webhooks met."""

import secrets
import time
from array import array
from collections import Counter
from collections.abc import Iterator

from dispatcher.simulator.answers import Decision, wamid_of
from dispatcher.simulator.faults import FAULTS
from dispatcher.simulator.limits import Margins
from dispatcher.simulator.send_request import SendRequest

MOST_NAMED = 100
# Meta wants the median of the answers to its webhooks below this.
SLOW_WEBHOOK_MS = 250.0


class SimulatorLedger:
    """Records POSTs as they arrive, and reports.

    Columns of numbers and strings hold no objects that the garbage collector visits, so that a long run brings no
    pauses into the arrival times.
    """

    def __init__(self, *, keep_bodies: bool = False) -> None:
        self._keep_bodies = keep_bodies
        # Keeps the ids of this ledger apart from those of others.
        self._run = secrets.token_hex(4).upper()
        # Since the process began; a reset leaves it.
        self._wamid_count = 0
        self._open: Counter[str] = Counter()
        self.webhooks = WebhookCounts()
        self._start()

    def _start(self) -> None:
        self.started_ns = time.monotonic_ns()
        self.bodies: list[bytes] = []
        self.accepted = 0
        self._keys: list[str] = []
        self._numbers: list[str] = []
        self._outcomes: list[str] = []
        self._claims = array("i")
        self._arrived_ns = array("q")
        self._statuses = array("h")
        self._codes = array("i")
        self._wamids: list[str] = []
        self._first_wamids: dict[str, str] = {}
        # Of keys that were accepted again: all their wamids.
        self._repeated: dict[str, list[str]] = {}
        self._accepted_without_key = 0
        self._posted_after_acceptance = 0
        self._overlapping: Counter[str] = Counter()
        self._by_status: Counter[str] = Counter()
        self._by_code: Counter[str] = Counter()
        self._by_outcome: Counter[str] = Counter()
        self._by_number: dict[str, NumberCounts] = {}

    def reset(self) -> None:
        """Begin a new ledger. Wamids go on, and what is open stays open."""
        self.webhooks.reset()
        self._start()

    def __len__(self) -> int:
        return len(self._keys)

    def begin(self, key: str) -> None:
        """A POST of this key has arrived and is not answered yet."""
        if not key:
            return
        self._open[key] += 1
        if self._open[key] > 1:
            self._overlapping[key] += 1

    def end(self, key: str) -> None:
        """A POST of this key was answered, or its connection is gone."""
        if not key:
            return
        self._open[key] -= 1
        if not self._open[key]:
            del self._open[key]

    def record(self, post: SendRequest, decision: Decision, rate: float | None) -> str:
        """Write a POST down; `rate` is that of its number, None if there is no such number. Gives its wamid, or ""."""
        if post.key in self._first_wamids:
            self._posted_after_acceptance += 1
        wamid = self._accept(post) if decision.is_accepted else ""
        self._keys.append(post.key)
        self._numbers.append(post.number)
        self._outcomes.append(decision.outcome)
        self._claims.append(post.claim)
        self._arrived_ns.append(post.arrived_ns)
        self._statuses.append(decision.status)
        self._codes.append(decision.code)
        self._wamids.append(wamid)
        if self._keep_bodies:
            self.bodies.append(post.body)
        self._count(decision)
        if rate is not None:
            self._counts_of(post.number, rate).add(post.arrived_ns, decision)
        return wamid

    def _count(self, decision: Decision) -> None:
        self._by_outcome[decision.outcome] += 1
        self._by_status[str(decision.status or "none")] += 1
        if decision.code >= 0:
            self._by_code[str(decision.code)] += 1

    def _accept(self, post: SendRequest) -> str:
        self.accepted += 1
        self._wamid_count += 1
        wamid = wamid_of(post.to, f"{self._run}{self._wamid_count:010X}")
        if not post.key:
            self._accepted_without_key += 1
        elif post.key in self._first_wamids:
            self._repeated.setdefault(post.key, [self._first_wamids[post.key]]).append(wamid)
        else:
            self._first_wamids[post.key] = wamid
        return wamid

    def _counts_of(self, number: str, rate: float) -> "NumberCounts":
        counts = self._by_number.get(number)
        if counts is None:
            counts = self._by_number[number] = NumberCounts(rate)
        elif counts.rate != rate:
            counts.retune(rate)
        return counts

    def accepted_wamids(self, key: str) -> list[str]:
        """The wamids of a key, one for each time it was accepted."""
        if key in self._repeated:
            return list(self._repeated[key])
        return [self._first_wamids[key]] if key in self._first_wamids else []

    def requests(self) -> Iterator[dict[str, object]]:
        """Every POST in the order of arrival."""
        for place, key in enumerate(self._keys):
            claim, code = self._claims[place], self._codes[place]
            yield {
                "key": key or None,
                "claim": claim if claim >= 0 else None,
                "number": self._numbers[place],
                "arrived_ms": (self._arrived_ns[place] - self.started_ns) / 1e6,
                "outcome": self._outcomes[place],
                "status": self._statuses[place] or None,
                "code": code if code >= 0 else None,
                "wamid": self._wamids[place] or None,
            }

    def report(self) -> dict[str, object]:
        """What there is to judge by, ready for JSON."""
        twice = list(self._repeated)
        overlapping = list(self._overlapping)
        return {
            "requests": len(self),
            "accepted": self.accepted,
            "accepted_once": len(self._first_wamids) - len(twice),
            "accepted_twice": {
                "count": len(twice),
                "keys": [{"key": key, "wamids": self.accepted_wamids(key)} for key in twice[:MOST_NAMED]],
            },
            "accepted_without_key": self._accepted_without_key,
            "posted_after_acceptance": self._posted_after_acceptance,
            "overlapping": {"count": len(overlapping), "keys": overlapping[:MOST_NAMED]},
            "over_limit": self._by_outcome["over_limit"],
            "by_status": dict(self._by_status),
            "by_code": dict(self._by_code),
            "by_outcome": dict(self._by_outcome),
            "faults": {name: count for name, count in self._by_outcome.items() if name in FAULTS},
            "webhooks": self.webhooks.report(),
            "numbers": {number: counts.report(self.started_ns) for number, counts in self._by_number.items()},
        }


class NumberCounts:
    """The arrivals of one number, and how near to its limit they came."""

    def __init__(self, rate: float) -> None:
        self._margins = Margins(rate)
        self._requests = 0
        self._accepted = 0
        self._over_limit = 0
        self._first_ns = 0
        self._last_ns = 0

    @property
    def rate(self) -> float:
        """Messages a second that the number may send."""
        return self._margins.rate

    def retune(self, rate: float) -> None:
        """The number has another rate from now on."""
        self._margins.retune(rate)

    def add(self, arrived_ns: int, decision: Decision) -> None:
        """Take in one arrival."""
        if not self._requests:
            self._first_ns = arrived_ns
        self._last_ns = arrived_ns
        self._requests += 1
        self._accepted += decision.is_accepted
        self._over_limit += decision.outcome == "over_limit"
        self._margins.see(arrived_ns)

    def _used(self) -> float | None:
        """The share of the rate that was used; the first message opens the time that the others fill."""
        if self._accepted < 2 or self._last_ns == self._first_ns:
            return None
        accepted_per_s = (self._accepted - 1) * 1e9 / (self._last_ns - self._first_ns)
        return accepted_per_s / self.rate

    def report(self, started_ns: int) -> dict[str, object]:
        """The counts, ready for JSON; times are counted from `started_ns`."""
        return {
            "rate": self.rate,
            "requests": self._requests,
            "accepted": self._accepted,
            "over_limit": self._over_limit,
            "first_arrival_ms": (self._first_ns - started_ns) / 1e6,
            "last_arrival_ms": (self._last_ns - started_ns) / 1e6,
            "used": self._used(),
            "largest_window": self._margins.largest_window,
            "smallest_span_ms": self._margins.smallest_span_ms,
            "smallest_margin_ms": self._margins.smallest_margin_ms,
        }


class WebhookCounts:
    """What was made, lost, tried and answered. What waits now is no count of the past: a reset leaves it."""

    def __init__(self) -> None:
        # Updates that are not delivered yet, whether their time has come or not, and those of held templates.
        self.waiting = 0
        self.held = 0
        # Webhooks that are made and not delivered yet.
        self.queued = 0
        self.verification: dict[str, object] | None = None
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.made = 0
        self.delivered = 0
        self.duplicated = 0
        self.retried = 0
        self.given_up = 0
        self.dropped = 0
        self.inbound = 0
        self.lost_messages = 0
        self.statuses: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self._answers: Counter[str] = Counter()
        self._slow = 0
        self._slowest_ms = 0.0

    def answer(self, status: int | None, took_ms: float) -> None:
        """A try was answered, or ended without an answer."""
        self._answers[str(status or "none")] += 1
        if status is not None:
            self._slow += took_ms > SLOW_WEBHOOK_MS
            self._slowest_ms = max(self._slowest_ms, took_ms)

    def report(self) -> dict[str, object]:
        """The counts, ready for JSON."""
        tries = self._answers.total()
        answered = tries - self._answers["none"]
        return {
            "made": self.made,
            "delivered": self.delivered,
            "tries": tries,
            "by_answer": {name: count for name, count in self._answers.items() if count},
            "not_200": tries - self._answers["200"],
            "retried": self.retried,
            "duplicated": self.duplicated,
            "given_up": self.given_up,
            "statuses": dict(self.statuses),
            "lost": dict(self.lost),
            "lost_messages": self.lost_messages,
            "inbound": self.inbound,
            "dropped": self.dropped,
            "slowest_answer_ms": self._slowest_ms if answered else None,
            "over_250_ms": self._slow / answered if answered else None,
            "waiting": self.waiting,
            "queued": self.queued,
            "held": self.held,
            "verification": self.verification,
        }

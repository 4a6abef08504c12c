"""What the simulator saw: every POST by key and claim, in columns, so that a million of them are cheap."""

import secrets
import time
from array import array
from collections import Counter
from collections.abc import Iterator

from dispatcher.simulator.book import Book
from dispatcher.simulator.decision import Decision
from dispatcher.simulator.faults import KINDS
from dispatcher.simulator.post import Post
from dispatcher.simulator.webhooks.tally import Tally

MOST_NAMED = 100
NOT_ACCEPTED = 0


class Ledger:
    """Files POSTs as they arrive, and reports.

    Columns of numbers and strings hold no objects that the garbage collector visits, so that a long run brings no
    pauses into the arrival times.
    """

    def __init__(self, *, keep_bodies: bool = False) -> None:
        self._keep_bodies = keep_bodies
        self._run = secrets.token_hex(8).upper()
        self._accepted_before = 0
        self._open: Counter[str] = Counter()
        self.webhooks = Tally()
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
        # 0, or which acceptance since the process started it was.
        self._acceptances = array("q")
        self._accepted_keys: dict[str, int] = {}
        self._accepted_again: dict[str, list[int]] = {}
        self._accepted_without_key = 0
        self._posted_after_acceptance = 0
        self._overlapping: Counter[str] = Counter()
        self._by_status: Counter[str] = Counter()
        self._by_code: Counter[str] = Counter()
        self._by_outcome: Counter[str] = Counter()
        self._books: dict[str, Book] = {}

    def reset(self) -> None:
        """Begin a new ledger. Wamids go on, and what is open stays open."""
        self._accepted_before += self.accepted
        self.webhooks.reset()
        self._start()

    def __len__(self) -> int:
        return len(self._keys)

    def opens(self, key: str) -> None:
        """A POST of this key has arrived and is not answered yet."""
        if not key:
            return
        self._open[key] += 1
        if self._open[key] > 1:
            self._overlapping[key] += 1

    def closes(self, key: str) -> None:
        """A POST of this key was answered, or its connection is gone."""
        if not key:
            return
        self._open[key] -= 1
        if not self._open[key]:
            del self._open[key]

    def file(self, post: Post, decision: Decision, rate: float | None) -> str:
        """Write a POST down; `rate` is that of its number, None if there is no such number. Gives its wamid, or ""."""
        if post.key in self._accepted_keys:
            self._posted_after_acceptance += 1
        acceptance = self._accept(post.key) if decision.is_accepted else NOT_ACCEPTED
        self._keys.append(post.key)
        self._numbers.append(post.number)
        self._outcomes.append(decision.outcome)
        self._claims.append(post.claim)
        self._arrived_ns.append(post.arrived_ns)
        self._statuses.append(decision.status)
        self._codes.append(decision.code)
        self._acceptances.append(acceptance)
        if self._keep_bodies:
            self.bodies.append(post.body)
        self._count(decision)
        if rate is not None:
            self._book(post.number, rate).file(
                post.arrived_ns, is_accepted=decision.is_accepted, is_over=decision.outcome == "over_limit"
            )
        return self._wamid(acceptance)

    def _count(self, decision: Decision) -> None:
        self._by_outcome[decision.outcome] += 1
        self._by_status[str(decision.status or "none")] += 1
        if decision.code >= 0:
            self._by_code[str(decision.code)] += 1

    def _accept(self, key: str) -> int:
        self.accepted += 1
        acceptance = self._accepted_before + self.accepted
        if not key:
            self._accepted_without_key += 1
        elif key in self._accepted_keys:
            self._accepted_again.setdefault(key, [self._accepted_keys[key]]).append(acceptance)
        else:
            self._accepted_keys[key] = acceptance
        return acceptance

    def _wamid(self, acceptance: int) -> str:
        return f"wamid.HBgL{self._run}{acceptance:016X}AA==" if acceptance else ""

    def _book(self, number: str, rate: float) -> Book:
        book = self._books.get(number)
        if book is None:
            book = self._books[number] = Book(rate)
        elif book.rate != rate:
            book.retune(rate)
        return book

    def accepted_wamids(self, key: str) -> list[str]:
        """The wamids of a key, one for each time it was accepted."""
        acceptances = self._accepted_again.get(key) or [self._accepted_keys.get(key, NOT_ACCEPTED)]
        return [self._wamid(acceptance) for acceptance in acceptances if acceptance]

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
                "wamid": self._wamid(self._acceptances[place]) or None,
            }

    def report(self) -> dict[str, object]:
        """What there is to judge by, ready for JSON."""
        twice = list(self._accepted_again)
        overlapping = list(self._overlapping)
        return {
            "requests": len(self),
            "accepted": self.accepted,
            "accepted_once": len(self._accepted_keys) - len(twice),
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
            "faults": {name: count for name, count in self._by_outcome.items() if name in KINDS},
            "webhooks": self.webhooks.report(),
            "numbers": {number: book.report(self.started_ns) for number, book in self._books.items()},
        }

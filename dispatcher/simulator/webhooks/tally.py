"""The ledger's page about webhooks: what was made, lost, tried and answered; knows no sockets."""

from collections import Counter

# Meta wants the median of answers below this.
SLOW_MS = 250.0


class Tally:
    """Adds up. What waits now is no count of the past: a reset leaves it."""

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
            self._slow += took_ms > SLOW_MS
            self._slowest_ms = max(self._slowest_ms, took_ms)

    def report(self) -> dict[str, object]:
        """The page, ready for JSON."""
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

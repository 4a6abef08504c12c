"""One number's page of the ledger: counts, times, and how near to its limit it came."""

from dispatcher.simulator.window import Margins


class Book:
    """Adds up the arrivals of one number."""

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

    def file(self, arrived_ns: int, *, is_accepted: bool, is_over: bool) -> None:
        """Take in one arrival."""
        if not self._requests:
            self._first_ns = arrived_ns
        self._last_ns = arrived_ns
        self._requests += 1
        self._accepted += is_accepted
        self._over_limit += is_over
        self._margins.see(arrived_ns)

    def _used(self) -> float | None:
        """The share of the rate that was used; the first message opens the time that the others fill."""
        if self._accepted < 2 or self._last_ns == self._first_ns:
            return None
        accepted_per_s = (self._accepted - 1) * 1e9 / (self._last_ns - self._first_ns)
        return accepted_per_s / self.rate

    def report(self, started_ns: int) -> dict[str, object]:
        """The page, ready for JSON; times are counted from `started_ns`."""
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

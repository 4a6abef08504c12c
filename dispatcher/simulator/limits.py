"""What a number may send: its messages a second, and its messages to one recipient. Takes every time as an argument."""

from collections import deque

SECOND_NS = 1_000_000_000


def window_size(rate: float) -> tuple[int, int]:
    """How many arrivals fit into a window, and how long it is in ns: a second, or below 1/s the time of one message.

    Raises:
        ValueError: The rate is not above zero.
    """
    if not rate > 0:
        raise ValueError(f"a rate is above zero, not {rate!r}")
    if rate >= 1:
        return int(rate), SECOND_NS
    return 1, -int(-SECOND_NS // rate)


class RateWindow:
    """Admits an arrival at `t` unless the window (t - 1 s, t] is full of admitted ones. Times must not go backwards."""

    def __init__(self, rate: float) -> None:
        self._admitted: deque[int] = deque()
        self.retune(rate)

    def retune(self, rate: float) -> None:
        """Another rate from now on; what was admitted still counts."""
        self.rate = rate
        self._capacity, self._span_ns = window_size(rate)

    def admits(self, at_ns: int) -> bool:
        """Whether this arrival is within the limit. An admitted arrival counts, a refused one does not."""
        admitted = self._admitted
        gone_ns = at_ns - self._span_ns
        while admitted and admitted[0] <= gone_ns:
            admitted.popleft()
        if len(admitted) >= self._capacity:
            return False
        admitted.append(at_ns)
        return True

    def charge(self, at_ns: int) -> None:
        """An arrival that nobody can refuse takes its place, even in a full window."""
        self._admitted.append(max(at_ns, self._admitted[-1]) if self._admitted else at_ns)

    def take_back(self) -> None:
        """Forget the last admitted arrival: it was refused for its rate after all."""
        self._admitted.pop()


class Margins:
    """How near to the edge the arrivals of a number came, whether they were refused or not."""

    def __init__(self, rate: float) -> None:
        self.largest_window = 0
        self.smallest_span_ns: int | None = None
        self._within: deque[int] = deque()
        self.retune(rate)

    def retune(self, rate: float) -> None:
        """Another rate from now on: earlier extremes stay, no span reaches across the change."""
        self.rate = rate
        self._capacity, self._span_ns = window_size(rate)
        self._latest: deque[int] = deque(maxlen=self._capacity)

    def see(self, at_ns: int) -> None:
        """Take in one arrival."""
        within = self._within
        gone_ns = at_ns - self._span_ns
        while within and within[0] <= gone_ns:
            within.popleft()
        within.append(at_ns)
        self.largest_window = max(self.largest_window, len(within))
        latest = self._latest
        if len(latest) == self._capacity:
            span_ns = at_ns - latest[0]
            if self.smallest_span_ns is None or span_ns < self.smallest_span_ns:
                self.smallest_span_ns = span_ns
        latest.append(at_ns)

    @property
    def smallest_span_ms(self) -> float | None:
        """The shortest time from an arrival to the one that is a whole window's worth later: min(t[i + R] - t[i])."""
        return None if self.smallest_span_ns is None else self.smallest_span_ns / 1e6

    @property
    def smallest_margin_ms(self) -> float | None:
        """How much longer than its window that shortest time was; below zero the limit was broken."""
        return None if self.smallest_span_ns is None else (self.smallest_span_ns - self._span_ns) / 1e6


class PairLimit:
    """What one number may send to one recipient: a burst that is borrowed from a steady rate."""

    BURST = 45
    EVERY_NS = 6 * SECOND_NS
    # Pairs whose debt is paid are forgotten when so many are known.
    SWEEP_AT = 100_000

    def __init__(self) -> None:
        self._paid_at_ns: dict[tuple[str, str], int] = {}

    def admits(self, number: str, to: str, at_ns: int) -> bool:
        """Whether the pair has a place in its burst left. A refused message borrows nothing."""
        pair = (number, to)
        paid_at_ns = max(self._paid_at_ns.get(pair, at_ns), at_ns)
        if paid_at_ns - at_ns > (self.BURST - 1) * self.EVERY_NS:
            return False
        if len(self._paid_at_ns) >= self.SWEEP_AT:
            self._paid_at_ns = {known: paid_ns for known, paid_ns in self._paid_at_ns.items() if paid_ns > at_ns}
        self._paid_at_ns[pair] = paid_at_ns + self.EVERY_NS
        return True

from bisect import bisect_right

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.simulator.limits import Margins, PairLimit, RateWindow, window_size

MS = 1_000_000
gaps_ns = st.lists(st.integers(0, 400).map(lambda ms: ms * MS) | st.integers(0, 1000), max_size=120)
rates = st.integers(1, 12).map(float) | st.floats(0.2, 6)


def times(gaps: list[int]) -> list[int]:
    at_ns, found = 0, []
    for gap in gaps:
        at_ns += gap
        found.append(at_ns)
    return found


@given(gaps_ns, rates)
def test_a_window_admits_what_counting_by_hand_admits(gaps: list[int], rate: float) -> None:
    window, (capacity, span_ns) = RateWindow(rate), window_size(rate)
    admitted: list[int] = []
    for at_ns in times(gaps):
        is_within = sum(at_ns - span_ns < earlier <= at_ns for earlier in admitted) < capacity
        assert window.admits(at_ns) is is_within
        if is_within:
            admitted.append(at_ns)


@given(gaps_ns, rates)
def test_margins_are_what_counting_by_hand_finds(gaps: list[int], rate: float) -> None:
    margins, (capacity, span_ns) = Margins(rate), window_size(rate)
    arrived = times(gaps)
    for at_ns in arrived:
        margins.see(at_ns)
    windows = [place + 1 - bisect_right(arrived, at_ns - span_ns, hi=place) for place, at_ns in enumerate(arrived)]
    spans = [arrived[place + capacity] - arrived[place] for place in range(len(arrived) - capacity)]
    assert margins.largest_window == max(windows, default=0)
    assert margins.smallest_span_ms == (min(spans) / 1e6 if spans else None)
    assert margins.smallest_margin_ms == ((min(spans) - span_ns) / 1e6 if spans else None)


@given(gaps_ns, rates)
def test_the_margin_is_below_zero_exactly_if_a_window_held_too_much(gaps: list[int], rate: float) -> None:
    margins = Margins(rate)
    for at_ns in times(gaps):
        margins.see(at_ns)
    is_broken = margins.smallest_margin_ms is not None and margins.smallest_margin_ms < 0
    assert is_broken is (margins.largest_window > window_size(rate)[0])


def test_an_arrival_exactly_a_second_after_the_first_of_a_full_window_is_admitted() -> None:
    window = RateWindow(2)
    assert [window.admits(at) for at in (0, 1, 999_999_999, 1_000_000_000)] == [True, True, False, True]


def test_below_one_a_second_the_window_is_the_time_of_one_message() -> None:
    window = RateWindow(0.25)
    assert [window.admits(second * 1000 * MS) for second in (0, 1, 3, 4, 7, 8)] == [
        True,
        False,
        False,
        True,
        False,
        True,
    ]


def test_what_is_taken_back_does_not_count() -> None:
    window = RateWindow(1)
    assert window.admits(0)
    window.take_back()
    assert window.admits(1)
    assert not window.admits(2)


def test_another_rate_keeps_what_was_admitted() -> None:
    window = RateWindow(3)
    assert all(window.admits(at) for at in (0, 1, 2))
    window.retune(4)
    assert [window.admits(at) for at in (3, 4)] == [True, False]


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_a_rate_that_is_not_above_zero_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="above zero"):
        RateWindow(rate)


def test_a_pair_may_burst_and_then_pays_it_back() -> None:
    pairs = PairLimit()
    burst = [pairs.admits("1", "+1555", 0) for _ in range(46)]
    assert burst == [True] * 45 + [False]
    assert not pairs.admits("1", "+1555", 5_999 * MS)
    assert pairs.admits("1", "+1555", 6_000 * MS)
    assert not pairs.admits("1", "+1555", 6_001 * MS)
    assert pairs.admits("1", "+1556", 0)
    assert pairs.admits("2", "+1555", 0)


def test_pairs_that_owe_nothing_are_forgotten() -> None:
    pairs = PairLimit()
    pairs.SWEEP_AT = 10
    for place in range(50):
        assert pairs.admits("1", str(place), place * 6_000 * MS)
    assert len(pairs._paid_at_ns) <= 11


def test_what_nobody_can_refuse_takes_its_place_in_a_full_window() -> None:
    window = RateWindow(2)
    for at_ms in (0, 500, 900):
        window.charge(at_ms * MS)
    assert not window.admits(1200 * MS)
    assert window.admits(1500 * MS)

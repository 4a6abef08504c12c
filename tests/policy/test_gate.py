import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.numbersfile import RATE_PER_S_MAX
from dispatcher.policy.gate import Room, bucket_size, refill_rate, room

RATE = st.floats(0.001, RATE_PER_S_MAX)
UNEVEN_S = 0.025


@pytest.mark.parametrize(("rate", "size", "refill"), [(1, 1.015, 0.96), (80, 2.2, 76.8), (1000, 16.0, 960.0)])
def test_bucket_of_the_known_throughputs(rate: float, size: float, refill: float) -> None:
    assert [bucket_size(rate), refill_rate(rate)] == pytest.approx([size, refill])


@given(rate=st.integers(1, int(RATE_PER_S_MAX)))
def test_no_second_holds_more_than_the_rate(rate: int) -> None:
    assert math.floor(bucket_size(rate) + refill_rate(rate) * (1 + UNEVEN_S)) <= rate


@given(rate=st.floats(0.001, 1, exclude_max=True))
def test_below_one_a_second_no_window_of_one_over_the_rate_holds_two(rate: float) -> None:
    assert math.floor(bucket_size(rate) + refill_rate(rate) * (1 / rate + UNEVEN_S)) <= 1


@pytest.mark.parametrize(
    ("rate", "most", "expected"),
    [
        (80, 1000, Room(urgent=192, normal=176, bulk=160)),
        (80, 192, Room(urgent=192, normal=176, bulk=160)),
        (80, 100, Room(urgent=100, normal=90, bulk=80)),
        (20, 1000, Room(urgent=48, normal=44, bulk=40)),
        (1, 1000, Room(urgent=4, normal=3, bulk=2)),
        (0.1, 1000, Room(urgent=3, normal=2, bulk=1)),
        (RATE_PER_S_MAX, 300, Room(urgent=300, normal=270, bulk=240)),
        (80, 4, Room(urgent=4, normal=3, bulk=2)),
        (80, 0, Room(urgent=3, normal=2, bulk=1)),
    ],
)
def test_room_is_two_seconds_of_rate_and_a_tenth_more_for_each_higher_lane(
    rate: float, most: int, expected: Room
) -> None:
    assert room(rate, most=most) == expected


@given(rate=RATE, most=st.integers(0, 5000))
def test_higher_lanes_always_have_a_place_of_their_own(rate: float, most: int) -> None:
    places = room(rate, most=most)
    assert 1 <= places.bulk < places.normal < places.urgent <= max(3, most)

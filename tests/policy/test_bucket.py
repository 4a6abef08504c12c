import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.policy.bucket import Room, room

RATE = st.floats(0.001, 100_000)


@pytest.mark.parametrize(
    ("rate", "most", "expected"),
    [
        (80, 1000, Room(urgent=192, normal=176, bulk=160)),
        (80, 192, Room(urgent=192, normal=176, bulk=160)),
        (80, 100, Room(urgent=100, normal=90, bulk=80)),
        (20, 1000, Room(urgent=48, normal=44, bulk=40)),
        (1, 1000, Room(urgent=4, normal=3, bulk=2)),
        (0.1, 1000, Room(urgent=3, normal=2, bulk=1)),
        (100_000, 300, Room(urgent=300, normal=270, bulk=240)),
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

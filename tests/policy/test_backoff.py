import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.policy import backoff
from dispatcher.policy.backoff import full_jitter, retry_s

CHANCE = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(("streak", "longest_s"), [(-1, 0.25), (0, 0.25), (1, 0.5), (6, 16), (7, 30), (10**9, 30)])
def test_backoff_doubles_up_to_its_cap(streak: int, longest_s: float) -> None:
    assert full_jitter(streak, first_s=0.25, cap_s=30, rand=1) == longest_s


@pytest.mark.parametrize(("rand", "expected_s"), [(0, 0), (0.5, 15), (0.9, 27)])
def test_jitter_survives_the_cap(rand: float, expected_s: float) -> None:
    assert full_jitter(50, first_s=0.25, cap_s=30, rand=rand) == expected_s


@given(streak=st.integers(), rand=CHANCE, first_s=st.floats(0, 1e6), cap_s=st.floats(0, 1e6))
def test_backoff_is_never_negative_and_never_above_its_cap(
    streak: int, rand: float, first_s: float, cap_s: float
) -> None:
    assert 0 <= full_jitter(streak, first_s=first_s, cap_s=cap_s, rand=rand) <= cap_s


def test_constants_are_those_of_the_design() -> None:
    throttled, credential = (backoff.FIRST_S, backoff.CAP_S), (backoff.CREDENTIAL_FIRST_S, backoff.CREDENTIAL_CAP_S)
    assert (throttled, credential) == ((0.25, 30.0), (5.0, 300.0))


@pytest.mark.parametrize(
    ("is_urgent", "longest_s"),
    [(False, [30, 60, 120, 240, 480, 960, 1800, 1800]), (True, [0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5])],
)
def test_what_is_refused_for_now_is_tried_again_within_an_hour_or_a_code_within_seconds(
    is_urgent: bool, longest_s: list[float]
) -> None:
    assert [retry_s(attempts, is_urgent=is_urgent, rand=1) for attempts in range(8)] == longest_s

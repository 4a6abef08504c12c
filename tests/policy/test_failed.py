"""What a failure after acceptance means: few codes pass by themselves, and none that is about the person."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.policy import codes, failed
from dispatcher.policy.codes import Rule


@pytest.mark.parametrize(("code", "after_s"), [(131000, 30), (131016, 30), (131057, 60), (130429, 5), (131056, 60)])
def test_what_passes_by_itself_may_go_again(code: int, after_s: float) -> None:
    assert failed.retry_after_s(code) == after_s


@pytest.mark.parametrize("code", [None, 131026, 131047, 131049, 131050, 132015, 130472, 999999])
def test_what_is_about_the_message_or_the_person_may_not(code: int | None) -> None:
    assert failed.retry_after_s(code) is None


@given(st.integers(-1, 3_000_000))
def test_no_refusal_and_no_trouble_with_a_token_is_ever_tried_again(code: int) -> None:
    row = codes.find(code)
    if row is None or row.rule in {Rule.REJECTED, Rule.CREDENTIAL}:
        assert failed.retry_after_s(code) is None

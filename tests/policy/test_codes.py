from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.policy import codes
from dispatcher.policy.codes import TABLE, Rule


def codes_of(rule: Rule) -> set[int]:
    return {code for row in TABLE if row.rule is rule for code in range(row.code, (row.last or row.code) + 1)}


def test_groups_are_complete() -> None:
    assert codes_of(Rule.PAIR) == {131056}
    assert codes_of(Rule.THROTTLED) == {4, 17, 32, 341, 613, 80007, 130429, 131057}
    assert codes_of(Rule.CREDENTIAL) == {0, 3, 10, 102, 104, 190, *range(200, 300), 368, 131031}
    assert codes_of(Rule.UNCERTAIN) == {1, 2, 131000, 131016}


def test_every_code_stands_once_and_names_its_source() -> None:
    counted = Counter(code for row in TABLE for code in range(row.code, (row.last or row.code) + 1))
    assert {code: count for code, count in counted.items() if count > 1} == {}
    assert {row.source for row in TABLE} <= {"codes", "graph", "openapi", "platform", "design"}
    assert all(row.meaning for row in TABLE)


def test_rows_are_found_by_code() -> None:
    assert {code: codes.find(code) for row in TABLE for code in (row.code, row.last or row.code)} == {
        code: row for row in TABLE for code in (row.code, row.last or row.code)
    }
    assert [codes.find(code) for code in (-1, 300, 999_999_999)] == [None, None, None]


# --- a receipt that says failed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("code", "after_s"), [(131000, 30), (131016, 30), (131057, 60), (130429, 5), (131056, 60)])
def test_what_passes_by_itself_may_go_again(code: int, after_s: float) -> None:
    assert codes.retry_after_s(code) == after_s


@pytest.mark.parametrize("code", [None, 131026, 131047, 131049, 131050, 132015, 130472, 999999])
def test_what_is_about_the_message_or_the_person_may_not(code: int | None) -> None:
    assert codes.retry_after_s(code) is None


@given(st.integers(-1, 3_000_000))
def test_no_refusal_and_no_trouble_with_a_token_is_ever_tried_again(code: int) -> None:
    row = codes.find(code)
    if row is None or row.rule in {Rule.REJECTED, Rule.CREDENTIAL}:
        assert codes.retry_after_s(code) is None

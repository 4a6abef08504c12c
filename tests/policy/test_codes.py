from collections import Counter

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

import re
from pathlib import Path
from typing import Any

import pytest

from dispatcher.message import content as contents
from dispatcher.message.content import ContentError, Problem
from tests.message.limits import LIMITS, RANGES, Limit, Range

DOCS = Path(__file__).parents[2] / "docs" / "content.md"
PLACES = re.compile(r"\[\d+\]")


def problems(content: Any) -> list[Problem]:
    with pytest.raises(ContentError) as refused:
        contents.read(content)
    return list(refused.value.problems)


def name(limit: Limit | Range) -> str:
    return f"{limit.at.removeprefix('content.')} {limit.most}"


@pytest.mark.parametrize("limit", LIMITS, ids=name)
def test_a_limit_is_taken_and_one_more_is_refused(limit: Limit) -> None:
    contents.read(limit.make(limit.most))
    problem = Problem(limit.at, f"must have at most {limit.most} {limit.unit}, given {limit.most + 1}")
    assert problem in problems(limit.make(limit.most + 1))


@pytest.mark.parametrize("limit", LIMITS, ids=name)
def test_the_least_is_taken_and_one_less_is_refused(limit: Limit) -> None:
    contents.read(limit.make(limit.least))
    if limit.least:
        wanted = f"{limit.least} to {limit.most} {limit.unit}"
        assert Problem(limit.at, f"must have {wanted}, given {limit.least - 1}") in problems(
            limit.make(limit.least - 1)
        )


@pytest.mark.parametrize("limit", RANGES, ids=name)
def test_a_number_is_taken_at_both_its_ends_and_not_beyond(limit: Range) -> None:
    for inside in (limit.least, limit.most, str(limit.most)):
        contents.read(limit.make(inside))
    outsiders: list[Any] = [limit.least - 1, limit.most + 1, True, None, []]
    for outside in outsiders:
        reason = f"must be {limit.kind} from {limit.least} to {limit.most}, given {contents.shown(outside)}"
        assert problems(limit.make(outside)) == [Problem(limit.at, reason)]


def test_only_what_is_too_much_is_named() -> None:
    """Where one limit is broken no other problem is said, but for the same field in sections of both kinds."""
    for limit in LIMITS:
        found = problems(limit.make(limit.most + 1))
        assert {problem.field for problem in found} == {limit.at}, limit.at


def test_the_page_has_every_limit_and_no_other() -> None:
    rows = re.findall(r"^\| `content\.(\S+)` \| ([^|]+) \| [^|]+ \|$", DOCS.read_text(), flags=re.MULTILINE)
    counts = {(PLACES.sub("[]", name_of(limit)), f"{limit.least} to {limit.most} {limit.unit}") for limit in LIMITS}
    ranges = {(PLACES.sub("[]", name_of(limit)), f"{limit.least} to {limit.most}") for limit in RANGES}
    assert {(path, wanted) for path, wanted in rows} == counts | ranges
    assert len(rows) == len(set(rows))


def name_of(limit: Limit | Range) -> str:
    return limit.at.removeprefix("content.")

import enum
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.message import content as contents
from dispatcher.message.content import ContentError, Problem


def problems(content: Any) -> list[Problem]:
    with pytest.raises(ContentError) as refused:
        contents.read(content)
    return list(refused.value.problems)


def foreign(value: Any) -> dict[str, Any]:
    """A content of a kind that nobody knows, which is asked for nothing but to be plain."""
    return {"type": "hologram", "hologram": value}


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


def itself() -> dict[str, Any]:
    loop: dict[str, Any] = {}
    loop["a"] = loop
    return loop


def nested(levels: int) -> list[Any]:
    return [nested(levels - 1)] if levels > 1 else []


ANY_JSON = "must be text, a number, true, false, null, a list or an object"


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        (math.nan, "", "must be a finite number, given nan"),
        ({"x": [1, -math.inf]}, ".x[1]", "must be a finite number, given -inf"),
        (2**1024, "", "must be an integer of at most 1024 bits, given 1025"),
        ("\ud83d", "", 'text with half a surrogate pair, which UTF-8 cannot say: "\\ud83d"'),
        ({"\ud83d": 1}, '["\\ud83d"]', 'text with half a surrogate pair, which UTF-8 cannot say: "\\ud83d"'),
        ({1: 2}, "", "a name in an object must be a string, given 1"),
        ({"a b": {None: 2}}, '["a b"]', "a name in an object must be a string, given null"),
        ({1, 2}, "", f"{ANY_JSON}, given a Python set"),
        (b"bytes", "", f"{ANY_JSON}, given a Python bytes"),
        (nested(32), "[0]" * 31, "nested deeper than 32 levels"),
    ],
)
def test_what_json_cannot_say_is_refused_with_its_place(value: Any, path: str, reason: str) -> None:
    place = f"content.hologram{path}"
    assert problems(foreign(value)) == [Problem(place if len(place) <= 120 else f"{place[:119]}…", reason)]


def test_a_content_that_contains_itself_is_refused() -> None:
    assert problems(itself()) == [Problem("content" + ".a" * 32, "nested deeper than 32 levels")]


def test_thirty_two_levels_pass() -> None:
    assert contents.read(foreign(nested(31))) is not None


def test_a_content_is_small_enough_for_redis_and_arq() -> None:
    frame = len('{"type":"hologram","hologram":{"link":""}}')
    assert contents.read(foreign({"link": "x" * (250_000 - frame)}))["type"] == "hologram"
    assert problems(foreign({"link": "x" * (250_001 - frame)})) == [
        Problem("content", "must have at most 250000 bytes as JSON, given 250001")
    ]


def test_what_is_derived_from_a_json_type_becomes_plain() -> None:
    class Half(float):
        pass

    parts: Mapping[str, Any] = MappingProxyType({"a": (Colour.RED, Level.HIGH, Half(0.5), True, None)})
    copy = contents.read(MappingProxyType(foreign(parts)))
    assert copy == foreign({"a": ["red", 3, 0.5, True, None]})
    assert [type(item) for item in copy["hologram"]["a"]] == [str, int, float, bool, type(None)]


def test_what_the_producer_changes_afterwards_changes_nothing() -> None:
    mine = foreign({"ids": [1]})
    copy = contents.read(mine)
    mine["hologram"]["ids"].append(2)
    assert copy == foreign({"ids": [1]})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_every_object_of_a_foreign_kind_passes_unchanged(thing: dict[str, Any]) -> None:
    assert contents.read(foreign(thing)) == foreign(thing)


@given(JSON | st.dictionaries(st.sampled_from(["type", "text", "template", "image", "to", "status"]), JSON))
def test_any_json_is_taken_or_refused_with_its_problems(content: Any) -> None:
    try:
        copy = contents.read(content)
    except ContentError as exc:
        assert exc.problems  # noqa: PT017 - either way is fine, but nothing else may be raised
    else:
        assert contents.read(copy) == copy

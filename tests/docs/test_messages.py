"""docs/messages.md: every field of a message with its default and its limits, and every state, as the code has them."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dispatcher import Message, Priority, Refused, State
from dispatcher.message.message import DEAD_KEPT_S, LANE_DEFAULTS, Cause
from dispatcher.settings import Settings
from tests.docs.pages import code, names, page, table

TEXT = page("messages.md")
ROWS = {names(row[0])[0]: row[1:] for row in table(TEXT, "| field | type |")}
LANES = {row[0]: dict(zip(Priority, row[1:], strict=True)) for row in table(TEXT, "| | `urgent` |")}
FIELDS = Message.model_fields
NEEDED = {"number": "otp-us", "to": "+15551234567", "content": {"type": "text", "text": {"body": "Hello"}}}
UNITS_S = {"s": 1, "min": 60, "h": 3600, "d": 86_400}


def takes(field: str, value: Any, **others: Any) -> bool:
    """Whether a message may have this value; nothing else may be wrong with it."""
    wrong = refused({**NEEDED, **others, field: value})
    assert wrong in {field, None}
    return wrong is None


def refused(given: dict[str, Any]) -> str | None:
    """The field that such a message is refused for."""
    try:
        Message.parse(given)
    except Refused as exc:
        return exc.field.partition(".")[0]
    return None


def limits(field: str) -> str:
    return ROWS[field][2]


def figures(cell: str) -> list[int]:
    return [int(text.replace(",", "")) for text in re.findall(r"(?<![\w-])\d[\d,]*\b", cell)]


def test_the_page_lists_every_field_in_order() -> None:
    assert list(ROWS) == list(FIELDS)


@pytest.mark.parametrize("field", FIELDS)
def test_the_default_is_that_of_the_code(field: str) -> None:
    default = ROWS[field][1]
    if FIELDS[field].is_required():
        assert default == "required"
    elif default == "by lane":
        assert len({getattr(Message(**NEEDED, priority=priority), field) for priority in Priority}) > 1
    else:
        assert default in {"none", f"`{FIELDS[field].default}`"}
        assert getattr(Message(**NEEDED), field) == (None if default == "none" else names(default)[0])


@pytest.mark.parametrize("priority", Priority)
def test_the_defaults_of_a_lane_are_those_of_the_code(priority: Priority) -> None:
    found = {name: row[priority] for name, row in LANES.items()}
    message, lane, settings = Message(**NEEDED, priority=priority), LANE_DEFAULTS[priority], Settings()
    is_urgent = priority == Priority.URGENT
    assert names(found["`category`"]) == [message.category]
    assert names(found["`on_uncertain`"]) == [message.on_uncertain]
    assert figures(found["`ttl_s`"]) == [message.ttl_s]
    assert seconds(found["record kept once settled"]) == lane.record_kept_s
    assert seconds(found["body kept after acceptance"]) == lane.body_kept_s
    assert seconds(found["record and body kept once dead"]) == DEAD_KEPT_S
    assert seconds(found["deadline of a POST"]) == settings.post_limit_s(priority)
    window_s = settings.uncertain_window_urgent_s if is_urgent else settings.uncertain_window_s
    assert seconds(found["wait for evidence"]) == window_s


def seconds(cell: str) -> int:
    found = re.match(r"([\d,]+) (s|min|h|d)\b", cell)
    assert found, cell
    return int(found[1]) * UNITS_S[found[2]]


CHARACTERS: dict[str, Callable[[str], str]] = {name: str for name in ("key", "campaign", "replaces")}
CHARACTERS["number"] = "n{}".format  # the first is a letter or digit


@pytest.mark.parametrize("field", CHARACTERS)
def test_as_many_and_such_characters_are_taken(field: str) -> None:
    least, most = re.findall(r"(\d+) to (\d+) characters", limits(field))[0]
    assert takes(field, "n" * int(least))
    assert takes(field, "n" * int(most))
    assert not takes(field, "n" * (int(least) - 1))
    assert not takes(field, "n" * (int(most) + 1))
    form = re.compile(f"[{names(limits(field))[0]}]")
    for character in map(chr, range(0x100)):
        assert takes(field, CHARACTERS[field](character)) == bool(form.match(character)), character


def test_the_first_character_of_a_number_is_a_letter_or_digit() -> None:
    assert "first a letter or digit" in limits("number")
    taken = {character for character in map(chr, range(0x100)) if takes("number", f"{character}x")}
    assert taken == {character for character in map(chr, range(0x80)) if character.isalnum()}


@pytest.mark.parametrize("field", ["priority", "category", "on_uncertain"])
def test_the_words_are_those_of_the_code(field: str) -> None:
    annotation: Any = FIELDS[field].annotation
    assert names(limits(field)) == list(annotation)


def test_a_user_id_is_as_long_as_the_page_says() -> None:
    least, most = figures(limits("to"))
    assert [takes("to", f"US.{'1' * count}") for count in (least - 1, least, most, most + 1)] == [
        *(False, True),
        *(True, False),
    ]
    assert not takes("to", "+1555")


def test_a_content_is_as_large_as_the_page_says() -> None:
    [most] = figures(limits("content"))

    def content(size: int) -> dict[str, Any]:
        empty = {"type": "later", "later": {"a": ""}}
        return {"type": "later", "later": {"a": "x" * (size - len(json.dumps(empty, separators=(",", ":"))))}}

    assert takes("content", content(most))
    assert not takes("content", content(most + 1))


def test_a_time_to_live_is_as_long_as_the_page_says() -> None:
    least, most, days = figures(limits("ttl_s"))
    assert most == days * UNITS_S["d"]
    assert [takes("ttl_s", ttl) for ttl in (least, least + 0.001, most, most + 1)] == [False, True, True, False]
    assert not takes("ttl_s", 60, expires_at="2026-11-22T16:00:00Z")


def test_callback_data_is_as_long_as_the_page_says() -> None:
    [most] = figures(limits("callback_data"))
    assert [takes("callback_data", "ü" * count) for count in (0, most, most + 1)] == [True, True, False]


@pytest.mark.parametrize("field", ["not_before", "expires_at"])
def test_a_time_says_its_zone(field: str) -> None:
    assert "must say its time zone" in limits(field)
    at = datetime(2026, 11, 22, 15, tzinfo=UTC)
    assert takes(field, at)
    assert takes(field, "2026-11-22T15:00:00+05:30")
    assert not takes(field, at.replace(tzinfo=None))


def test_a_message_expires_after_it_may_go_out() -> None:
    assert "later than `not_before`" in limits("expires_at")
    at = datetime(2026, 11, 22, 15, tzinfo=UTC)
    assert not takes("expires_at", at, not_before=at)
    assert takes("expires_at", at + timedelta(seconds=1), not_before=at)


def test_a_message_does_not_replace_itself_and_has_a_traceparent() -> None:
    assert "not the message's own `key`" in limits("replaces")
    assert not takes("replaces", "k1", key="k1")
    assert "`traceparent`" in limits("trace")
    assert not takes("trace", "4bf92f35")


PYTHON = {"string": str, "object": dict, "number": int, "time": str}


def test_every_example_is_of_its_type_and_holds() -> None:
    examples = {field: json.loads(names(row[3])[0]) for field, row in ROWS.items()}
    assert all(isinstance(example, PYTHON[ROWS[field][0]]) for field, example in examples.items())
    del examples["ttl_s"]  # not together with expires_at
    assert Message.parse(examples).replaces == examples["replaces"]
    assert takes("ttl_s", json.loads(names(ROWS["ttl_s"][3])[0]))


def test_the_message_of_the_page_holds() -> None:
    [block] = code(TEXT, "json")
    assert Message.parse(json.loads(block)).key == "order-4411-shipped"


def test_the_page_explains_every_field() -> None:
    explained = {name for line in re.findall(r"^\*\*(.+?)\*\*", TEXT, flags=re.MULTILINE) for name in names(line)}
    assert explained == set(FIELDS) - {"priority"}
    assert "`priority` chooses the lane" in TEXT


def test_the_page_lists_every_state_and_cause() -> None:
    assert [names(row[0])[0] for row in table(TEXT, "| state | it means |")] == list(State)
    assert [names(row[0])[0] for row in table(TEXT, "| cause of `dead` |")] == list(Cause)


def test_every_arrow_has_its_sentence() -> None:
    [diagram] = code(TEXT, "")
    arrows = sorted(map(int, re.findall(r"─(\d+)▶", diagram)))
    sentences = TEXT[TEXT.index(diagram) :]
    assert arrows == list(range(1, len(arrows) + 1))
    assert [int(number) for number in re.findall(r"^(\d+)\. \S", sentences, flags=re.MULTILINE)] == arrows

import pickle
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher import errors
from dispatcher.message.message import LANE_DEFAULTS, Category, Message, OnUncertain, Priority, new_key

TEXT = {"type": "text", "text": {"body": "Hello"}}
LEAST = {"number": "106540352242922", "to": "+15551234567", "content": TEXT}
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def refusal(given_message: Any) -> tuple[str, str, str | None]:
    with pytest.raises(errors.Refused) as refused:
        Message.parse(given_message)
    return refused.value.field, refused.value.reason, refused.value.key


def test_a_message_needs_no_more_than_number_recipient_and_content() -> None:
    assert Message.parse(LEAST).model_dump() == {
        "number": "106540352242922",
        "to": "+15551234567",
        "content": TEXT,
        "key": None,
        "priority": Priority.NORMAL,
        "category": Category.UTILITY,
        "campaign": None,
        "not_before": None,
        "expires_at": None,
        "ttl_s": 86_400.0,
        "callback_data": None,
        "on_uncertain": OnUncertain.EVIDENCE,
        "trace": None,
        "replaces": None,
    }


def test_every_field_is_taken_as_the_documentation_shows_it() -> None:
    message = Message.parse(
        LEAST
        | {"key": "order-4411-shipped", "priority": "bulk", "category": "utility", "campaign": "autumn/2026"}
        | {"not_before": "2026-11-22T15:00:00Z", "ttl_s": 3600, "callback_data": "order=4411 ✓"}
        | {"on_uncertain": "resend", "trace": TRACE, "replaces": "order-4410-shipped"}
    )
    assert message.model_dump(mode="json") == {
        "number": "106540352242922",
        "to": "+15551234567",
        "content": TEXT,
        "key": "order-4411-shipped",
        "priority": "bulk",
        "category": "utility",
        "campaign": "autumn/2026",
        "not_before": "2026-11-22T15:00:00Z",
        "expires_at": None,
        "ttl_s": 3600.0,
        "callback_data": "order=4411 ✓",
        "on_uncertain": "resend",
        "trace": TRACE,
        "replaces": "order-4410-shipped",
    }
    assert Message.parse(message.model_dump(mode="json")) == message
    assert Message.model_validate_json(message.model_dump_json()) == message
    assert pickle.loads(pickle.dumps(message)) == message


@pytest.mark.parametrize("priority", list(Priority))
def test_what_is_left_out_or_null_takes_the_default_of_its_lane(priority: Priority) -> None:
    defaults = LANE_DEFAULTS[priority]
    nothing = dict.fromkeys(
        ["key", "category", "campaign", "not_before", "expires_at", "ttl_s", "on_uncertain", "trace"]
    )
    for message in (
        Message.parse(LEAST | {"priority": priority}),
        Message.parse(LEAST | nothing | {"priority": priority}),
    ):
        assert (message.category, message.on_uncertain) == (defaults.category, defaults.on_uncertain)
        assert message.ttl_s == defaults.ttl_s


def test_a_fixed_expiry_stands_in_place_of_a_time_to_live() -> None:
    message = Message.parse(LEAST | {"expires_at": "2026-11-22T16:00:00+01:00"})
    assert (message.expires_at, message.ttl_s) == (datetime(2026, 11, 22, 15, tzinfo=UTC), None)


def test_times_are_kept_in_utc() -> None:
    at = datetime(2026, 11, 22, 16, tzinfo=timezone(timedelta(hours=1)))
    assert Message.parse(LEAST | {"not_before": at}).model_dump_json().count('"not_before":"2026-11-22T15:00:00Z"') == 1


def test_phone_number_id_is_another_name_for_number() -> None:
    named = {"phone_number_id": "106540352242922", "to": "+15551234567", "content": TEXT}
    assert Message.parse(named) == Message.parse(LEAST)
    assert "number" not in named
    assert refusal(LEAST | named) == ("phone_number_id", 'is another name for "number": give one of them', None)


def test_a_message_is_frozen_and_shows_neither_recipient_nor_content() -> None:
    message = Message.parse(LEAST | {"callback_data": "secret"})
    with pytest.raises(ValueError, match="frozen"):
        message.to = "+15557654321"  # type: ignore[misc] # what is tested
    assert repr(message) == (
        "Message(number='106540352242922', key=None, priority=<Priority.NORMAL: 'normal'>, "
        "category=<Category.UTILITY: 'utility'>, campaign=None, not_before=None, expires_at=None, ttl_s=86400.0, "
        "on_uncertain=<OnUncertain.EVIDENCE: 'evidence'>, trace=None, replaces=None)"
    )


def test_a_message_that_lacks_a_key_takes_the_default_key() -> None:
    assert Message.parse(LEAST, default_key="job-1").key == "job-1"
    assert Message.parse(LEAST | {"key": None}, default_key="job-1").key == "job-1"
    assert Message.parse(LEAST | {"key": "mine"}, default_key="job-1").key == "mine"
    assert Message.parse(Message.parse(LEAST), default_key="job-1").key == "job-1"


def test_a_message_is_parsed_once() -> None:
    message = Message.parse(LEAST | {"key": "mine"})
    assert Message.parse(message) is message
    assert Message.parse(message, default_key="job-1") is message


# Refusals


NUMBER = 'must be a phone number id or a name such as "otp-us": a string of 1 to 64 characters from A-Za-z0-9._-'
KEY = "must be a string of 1 to 128 characters from A-Za-z0-9._:@/+=-"
CAMPAIGN = "must be a string of 1 to 64 characters from A-Za-z0-9._:@/+=-"
CATEGORIES = "must be one of authentication, utility, marketing, service"
TIME = 'must be a time such as "2026-11-22T15:00:00Z"'
SECONDS = "must be a number of seconds above 0, at most 2592000 (30 days)"
TRACEPARENT = f'must be a W3C traceparent such as "{TRACE}"'


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("number", 106540352242922, f"{NUMBER}, given 106540352242922"),
        ("number", "otp us", f'{NUMBER}, given "otp us"'),
        ("number", "x" * 65, f'{NUMBER}, given "{"x" * 59}…"'),
        ("to", 15551234567, 'must be a string such as "+15551234567", given 15551234567'),
        ("key", "order 4411", f'{KEY}, given "order 4411"'),
        ("key", "", f'{KEY}, given ""'),
        ("key", "x" * 129, f'{KEY}, given "{"x" * 59}…"'),
        ("key", "line\n", f'{KEY}, given "line\\n"'),
        ("priority", "Urgent", 'must be one of urgent, normal, bulk, given "Urgent", did you mean "urgent"?'),
        ("priority", 1, "must be one of urgent, normal, bulk, given 1"),
        ("priority", [], "must be one of urgent, normal, bulk, given a list"),
        ("category", "MARKETING", f'{CATEGORIES}, given "MARKETING", did you mean "marketing"?'),
        ("campaign", "autumn 2026", f'{CAMPAIGN}, given "autumn 2026"'),
        ("campaign", "x" * 65, f'{CAMPAIGN}, given "{"x" * 59}…"'),
        ("not_before", "tomorrow", f'{TIME}, given "tomorrow"'),
        ("not_before", 1_795_000_000, f"{TIME}, given 1795000000"),
        ("not_before", "0001-01-01T00:00:00+01:00", f'{TIME}, given "0001-01-01T00:00:00+01:00"'),
        (
            "not_before",
            "2026-11-22T15:00:00",
            'must say its time zone, as "2026-11-22T15:00:00Z" does for UTC, given "2026-11-22T15:00:00"',
        ),
        (
            "expires_at",
            datetime(2026, 11, 22),
            'must say its time zone, as "2026-11-22T00:00:00Z" does for UTC, given "2026-11-22 00:00:00"',
        ),
        ("ttl_s", 0, f"{SECONDS}, given 0"),
        ("ttl_s", -1.5, f"{SECONDS}, given -1.5"),
        ("ttl_s", float("nan"), f"{SECONDS}, given nan"),
        ("ttl_s", True, f"{SECONDS}, given true"),
        ("ttl_s", "3600", f'{SECONDS}, given "3600"'),
        ("ttl_s", 2_592_001, f"{SECONDS}, given 2592001"),
        ("callback_data", {"order": 1}, "must be a string, given an object"),
        ("callback_data", "x" * 513, "must have at most 512 characters, given 513"),
        ("callback_data", "\ud83d", 'has half a surrogate pair, which UTF-8 cannot say, given "\\ud83d"'),
        ("on_uncertain", "retry", 'must be one of evidence, resend, given "retry"'),
        ("trace", "abc", f'{TRACEPARENT}, given "abc"'),
        ("trace", TRACE.replace("b7ad6b7169203331", "0" * 16), f'{TRACEPARENT}, given "{TRACE[:36]}{"0" * 16}-01"'),
        ("priorty", "urgent", 'unknown field, did you mean "priority"?'),
        ("phonenumber_id", "1", 'unknown field, did you mean "number"?'),
        ("zzz", 1, "unknown field"),
        ("recipient", "US.1349", 'unknown field, use "to"'),
        ("biz_opaque_callback_data", "x", 'unknown field, use "callback_data"'),
        ("template", {}, 'unknown field, it belongs into "content"'),
        ("messaging_product", "whatsapp", 'unknown field, it belongs into "content"'),
        ("new\nline", 1, "unknown field"),
    ],
)
def test_a_wrong_field_is_refused_with_what_would_be_right(field: str, value: Any, reason: str) -> None:
    assert refusal(LEAST | {field: value}) == (field.replace("\n", "\\n"), reason, None)


def test_expiry_and_time_to_live_exclude_each_other() -> None:
    both = LEAST | {"expires_at": "2026-11-22T15:00:00Z", "ttl_s": 60}
    assert refusal(both) == ("ttl_s", "give either ttl_s or expires_at", None)


def test_a_message_that_would_expire_before_it_may_leave_is_refused() -> None:
    assert refusal(LEAST | {"not_before": "2026-11-22T15:00:00Z", "expires_at": "2026-11-22T15:00:00Z"}) == (
        "expires_at",
        "must be later than not_before, 2026-11-22T15:00:00+00:00, given 2026-11-22T15:00:00+00:00",
        None,
    )


def test_all_problems_come_as_one_refusal_with_the_key() -> None:
    wrong = {"contnet": TEXT, "to": "hello", "key": "order-4411", "priority": "asap"}
    assert refusal(wrong) == (
        "contnet",
        'unknown field, did you mean "content"?; '
        "number: is missing: the phone number id or the name of the number to send from; "
        'to: must be a phone number such as +15551234567 or a user id such as US.1349, given "hello"; '
        'content: is missing: an object such as {"type": "text", "text": {"body": "Hello"}}; '
        'priority: must be one of urgent, normal, bulk, given "asap"',
        "order-4411",
    )


def test_problems_of_the_content_are_named_with_their_path() -> None:
    wrong = LEAST | {"to": "123", "content": {"type": "text", "text": {"body": "", "preview_url": 1}}}
    assert refusal(wrong) == (
        "to",
        'not a possible phone number: too short for its country, given "123"; '
        "content.text.body: must have 1 to 4096 characters, given 0; "
        "content.text.preview_url: must be true or false, given 1",
        None,
    )


def test_a_refusal_stays_short() -> None:
    strange = {name: 1 for name in "zyxwvusrqp"}
    more = "; ".join(f"{name}: unknown field" for name in "yxwvusr")
    assert refusal(LEAST | strange) == ("z", f"unknown field; {more}; and 2 more", None)


@pytest.mark.parametrize(("value", "shown"), [(None, "null"), ([LEAST], "a list"), ("{}", '"{}"')])
def test_what_is_no_object_is_no_message(value: Any, shown: str) -> None:
    assert refusal(value) == ("", f"a message must be an object, given {shown}", None)


def test_a_default_key_that_does_not_hold_is_refused() -> None:
    with pytest.raises(errors.Refused) as refused:
        Message.parse(LEAST, default_key="job 1")
    assert (refused.value.field, refused.value.reason) == ("key", f'{KEY}, given "job 1"')


def test_whoever_builds_a_message_gets_refused_and_nothing_of_pydantic() -> None:
    expected = 'to: not a possible phone number: too short for its country, given "123"'
    with pytest.raises(errors.Refused) as built:
        Message(number="otp-us", to="123", content=TEXT)
    with pytest.raises(errors.Refused) as validated:
        Message.model_validate(LEAST | {"to": "123"})
    assert (str(built.value), str(validated.value)) == (expected, expected)
    assert built.value.__cause__ is None
    assert built.value.__suppress_context__


@given(
    st.dictionaries(
        st.text() | st.integers() | st.sampled_from(list(Message.model_fields)), st.none() | st.text() | st.floats()
    )
)
def test_any_object_is_taken_or_refused(given_message: dict[Any, Any]) -> None:
    with pytest.raises(errors.Refused) as refused:
        Message.parse(given_message)
    assert refused.value.reason
    str(refused.value).encode()


def test_generated_keys_differ_and_hold() -> None:
    keys = [new_key() for _ in range(1000)]
    assert len(set(keys)) == 1000
    assert [Message.parse(LEAST | {"key": key}).key for key in keys] == keys
    assert [key[:12] for key in keys] == sorted(key[:12] for key in keys)


def test_a_message_does_not_replace_itself() -> None:
    with pytest.raises(errors.Refused, match="^replaces: must be the key of another message$"):
        Message(number="otp", to="+15551234567", content=TEXT, key="k1", replaces="k1")

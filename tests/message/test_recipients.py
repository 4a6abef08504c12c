import phonenumbers
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dispatcher.message import recipient
from dispatcher.message.message import mask

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
USER_IDS = st.from_regex(r"[A-Z]{2}\.(ENT\.)?[0-9A-Za-z]{1,128}", fullmatch=True)


@st.composite
def example_phones(draw: st.DrawFn) -> str:
    number = phonenumbers.example_number(draw(st.sampled_from(REGIONS)))
    assume(number)
    assert number
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


@pytest.mark.parametrize(
    "written",
    ["+15551234567", "15551234567", "+1 555 123 4567", "+1 (555) 123-4567", "1.555.123.4567", " +1-555-1234567 "],
)
def test_a_phone_is_the_same_however_it_is_written(written: str) -> None:
    assert recipient.normalise(written) == "+15551234567"


@given(example_phones(), st.lists(st.sampled_from(" -."), max_size=6), st.booleans())
def test_formatting_and_a_missing_plus_never_change_who_is_meant(phone: str, marks: list[str], plus: bool) -> None:
    written = phone if plus else phone[1:]
    for place, mark in enumerate(marks):
        written = written[: 2 * place + 1] + mark + written[2 * place + 1 :]
    assert recipient.normalise(written) == phone


@given(st.text(alphabet="+0123456789 -().", max_size=24))
def test_what_is_taken_is_a_possible_number_of_plus_and_digits(written: str) -> None:
    try:
        phone = recipient.normalise(written)
    except ValueError:
        return
    assert phone == "+" + "".join(filter(str.isdigit, written))
    assert phonenumbers.is_possible_number(phonenumbers.parse(phone, None))
    assert recipient.normalise(phone) == phone


@given(st.text())
def test_any_text_is_taken_or_refused_with_a_reason(written: str) -> None:
    try:
        recipient.normalise(written)
    except ValueError as exc:
        assert str(exc)  # noqa: PT017 - either way is fine, but nothing else may be raised
        assert str(exc).isprintable()  # noqa: PT017 - as above


@given(USER_IDS)
def test_a_user_id_is_taken_as_it_is(user_id: str) -> None:
    assert recipient.normalise(user_id) == user_id
    assert recipient.is_user_id(user_id)


WIDE = "".join(chr(ord(digit) + 0xFEE0) for digit in "15551234567")
"""Digits to Unicode, but not those of a phone number."""

PHONE_OR_ID = "must be a phone number such as +15551234567 or a user id such as US.1349"


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", f'{PHONE_OR_ID}, given ""'),
        ("hello", f'{PHONE_OR_ID}, given "hello"'),
        ("us.1349", f'{PHONE_OR_ID}, given "us.1349"'),
        ("US.13-49", f'{PHONE_OR_ID}, given "US.13-49"'),
        ("+15551234567\n", f'{PHONE_OR_ID}, given "+15551234567\\n"'),
        ("US.1349\n", f'{PHONE_OR_ID}, given "US.1349\\n"'),
        ("+1555+1234567", f'{PHONE_OR_ID}, given "+1555+1234567"'),
        ("+1 555 123 4567 x89", f'{PHONE_OR_ID}, given "+1 555 123 4567 x89"'),
        (WIDE, f'{PHONE_OR_ID}, given "{WIDE}"'),
        ("+" + " " * 80 + "15551234567", f'{PHONE_OR_ID}, given "+{" " * 58}…"'),
        ("123", 'not a possible phone number: too short for its country, given "123"'),
        ("+1", 'not a possible phone number: too short, given "+1"'),
        ("+1555123456789", 'not a possible phone number: too long for its country, given "+1555123456789"'),
        ("+" + "1" * 30, f'not a possible phone number: too long for its country, given "+{"1" * 30}"'),
        ("+999 1234567", 'not a possible phone number: no country code begins like that, given "+999 1234567"'),
        (
            "0171 1234567",
            'not a possible phone number: it begins with 0 where the country code belongs, given "0171 1234567"',
        ),
        (
            "+44 (0) 20 7946 0958",
            'write the number without "(0)", as it is dialled from abroad, given "+44 (0) 20 7946 0958"',
        ),
    ],
)
def test_what_nobody_can_be_reached_by_is_refused_with_its_reason(written: str, reason: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole text is compared
        recipient.normalise(written)
    assert str(refused.value) == reason


@pytest.mark.parametrize(
    ("whole", "masked"),
    [
        ("+15551234567", "+1555•••4567"),
        ("15551234567", "1555•••4567"),
        ("+4917112345678", "+4917•••5678"),
        ("+3545551234", "+35•••34"),
        ("+29012345", "+29•••45"),
        ("+290123", "•••"),
        ("US.13491208655302741918", "US.13•••18"),
        ("US.ENT.13491208655302741918", "US.ENT.13•••18"),
        ("US.1349", "•••"),
        ("", "•••"),
        ("somebody@example.com", "•••"),
    ],
)
def test_logs_show_the_ends_of_a_recipient_at_most(whole: str, masked: str) -> None:
    assert mask(whole) == masked


@given(example_phones() | USER_IDS | st.text())
def test_a_mask_hides_at_least_three_characters(whole: str) -> None:
    shown = mask(whole).replace("•••", "", 1)
    assert len(shown) <= max(len(whole) - 3, 0)

"""The plain fields of a message: each function returns the value as it is kept, or says what would be right.

All raise ValueError with a reason that repeats what was given; None stands for a field that was left out.
"""

import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from dispatcher.message import recipient
from dispatcher.message.content import one_of, shown

CALLBACK_DATA_CHARACTERS_MAX = 512
"""As many as Meta's `biz_opaque_callback_data` takes, whose place it has for the producer."""

TTL_S_MAX = 30 * 24 * 3600
"""Seconds: the longest time to live Meta gives a template. What is to go out later takes `not_before`."""

_KEY = re.compile(r"[A-Za-z0-9._:@/+=-]{1,128}")
_CAMPAIGN = re.compile(r"[A-Za-z0-9._:@/+=-]{1,64}")
_NUMBER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# https://www.w3.org/TR/trace-context/#traceparent-header: version ff and ids of zeros are invalid.
_TRACE = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

_Word = TypeVar("_Word", bound=StrEnum)


def number(given: object) -> str:
    """Read the number to send from: its phone number id or its name."""
    wanted = 'a phone number id or a name such as "otp-us": a string of 1 to 64 characters from A-Za-z0-9._-'
    return _matching(_NUMBER, given, wanted)


def to(given: object) -> str:
    """Read the recipient; see `recipient.normalise`."""
    if isinstance(given, str):
        return recipient.normalise(given)
    raise ValueError(f'must be a string such as "+15551234567", given {shown(given)}')


def key(given: object) -> str | None:
    """Read the idempotency key, which Meta gets back to us with every receipt."""
    wanted = "a string of 1 to 128 characters from A-Za-z0-9._:@/+=-"
    return None if given is None else _matching(_KEY, given, wanted)


def campaign(given: object) -> str | None:
    """Read the campaign, by which messages can be stopped together."""
    wanted = "a string of 1 to 64 characters from A-Za-z0-9._:@/+=-"
    return None if given is None else _matching(_CAMPAIGN, given, wanted)


def trace(given: object) -> str | None:
    """Read the W3C traceparent under which the message was sent."""
    wanted = 'a W3C traceparent such as "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"'
    return None if given is None else _matching(_TRACE, given, wanted)


def word(words: type[_Word], given: object, default: _Word) -> _Word:
    """Read one of a closed set of words."""
    if given is None:
        return default
    try:
        return words(given if isinstance(given, str) else "")
    except ValueError:
        raise ValueError(one_of(words, given)) from None


def moment(given: object) -> datetime | None:
    """Read a point in time; it is kept in UTC."""
    if given is None:
        return None
    try:
        at = given if isinstance(given, datetime) else datetime.fromisoformat(str(given))
        if at.utcoffset() is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f'must be a time such as "2026-11-22T15:00:00Z", given {shown(given)}') from None
    raise ValueError(f'must say its time zone, as "{at.isoformat()}Z" does for UTC, given {shown(str(given))}')


def ttl_s(given: object) -> float:
    """Read the time to live in seconds."""
    if isinstance(given, int | float) and not isinstance(given, bool) and 0 < given <= TTL_S_MAX:
        return float(given)
    raise ValueError(f"must be a number of seconds above 0, at most {TTL_S_MAX} (30 days), given {shown(given)}")


def callback_data(given: object) -> str | None:
    """Read what the producer wants back with every event of the message."""
    if given is None:
        return None
    if not isinstance(given, str):
        raise ValueError(f"must be a string, given {shown(given)}")  # noqa: TRY004 - pydantic lets TypeErrors through
    if len(given) > CALLBACK_DATA_CHARACTERS_MAX:
        raise ValueError(f"must have at most {CALLBACK_DATA_CHARACTERS_MAX} characters, given {len(given)}")
    try:
        given.encode()
    except UnicodeEncodeError:
        raise ValueError(f"has half a surrogate pair, which UTF-8 cannot say, given {shown(given)}") from None
    return given


def _matching(form: re.Pattern[str], given: object, wanted: str) -> str:
    if isinstance(given, str) and form.fullmatch(given):
        return given
    raise ValueError(f"must be {wanted}, given {shown(given)}")

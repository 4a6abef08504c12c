"""Who a message goes to: a phone in E.164 or a business-scoped user id, and how it is shown. Knows no message."""

import functools
import re

import phonenumbers
from phonenumbers import NumberParseException, ValidationResult

from dispatcher.message.content.shape import shown

# A business-scoped user id (BSUID): Meta's Message API specification, v25.0.
_USER_ID = re.compile(r"([A-Z]{2}\.(?:ENT\.)?)([0-9A-Za-z]{1,128})")
_FORMATTING = str.maketrans("", "", " -().")
_PHONE = re.compile(r"\+?([0-9]{1,32})")
_CHARACTERS_MAX = 64
_MASK = "•••"

_WHY_IMPOSSIBLE = {
    ValidationResult.INVALID_COUNTRY_CODE: "no country code begins like that",
    ValidationResult.TOO_SHORT: "too short for its country",
    ValidationResult.TOO_LONG: "too long for its country",
    ValidationResult.INVALID_LENGTH: "no number of its country has this length",
}
_WHY_UNPARSED = {
    NumberParseException.INVALID_COUNTRY_CODE: "no country code begins like that",
    NumberParseException.TOO_LONG: "too long for its country",
}


# 16,384 recipients are about 3 MB; what repeats are retries of a producer and people who get several messages.
@functools.lru_cache(maxsize=16_384)
def normalise(given: str) -> str:
    """Return the recipient as it is posted: a phone as `+` and digits, a user id as it is.

    Digits without `+` are international, as a `wa_id` is; spaces, `-`, `.`, `(` and `)` do not matter.

    Raises:
        ValueError: it is neither a user id nor a possible phone number; the text says why.
    """
    if _USER_ID.fullmatch(given):
        return given
    phone = _PHONE.fullmatch(given.translate(_FORMATTING)) if len(given) <= _CHARACTERS_MAX else None
    if not phone:
        raise ValueError(
            f"must be a phone number such as +15551234567 or a user id such as US.1349, given {shown(given)}"
        )
    if "(0)" in given.replace(" ", ""):
        # Left out in most countries, dialled in Italy: guessing could reach somebody else.
        raise ValueError(f'write the number without "(0)", as it is dialled from abroad, given {shown(given)}')
    digits = phone[1]
    if reason := _why_impossible(digits):
        raise ValueError(f"not a possible phone number: {reason}, given {shown(given)}")
    return f"+{digits}"


def _why_impossible(digits: str) -> str | None:
    """Say why no phone can have these international digits; None if one can."""
    if digits.startswith("0"):
        return "it begins with 0 where the country code belongs"
    try:
        number = phonenumbers.parse(f"+{digits}", None)
    except NumberParseException as exc:
        return _WHY_UNPARSED.get(exc.error_type, "too short")
    if phonenumbers.is_possible_number(number):
        return None
    return _WHY_IMPOSSIBLE.get(phonenumbers.is_possible_number_with_reason(number), "its length is wrong")


def is_user_id(recipient: str) -> bool:
    """Whether it goes into `recipient` of the request instead of `to`."""
    return _USER_ID.fullmatch(recipient) is not None


def mask(recipient: str) -> str:
    """Return the recipient as logs may show it: `+1555•••4567`, `US.13•••67`; never more than four digits an end.

    Takes any text, also a `wa_id` without `+`; what is short or of another form is masked whole.
    """
    if user_id := _USER_ID.fullmatch(recipient):
        region, name = user_id.groups()
        return f"{region}{name[:2]}{_MASK}{name[-2:]}" if len(name) >= 8 else _MASK
    if not _PHONE.fullmatch(recipient) or len(recipient) < 8:
        return _MASK
    plus, digits = ("+", recipient[1:]) if recipient[0] == "+" else ("", recipient)
    visible = 4 if len(digits) >= 11 else 2
    return f"{plus}{digits[:visible]}{_MASK}{digits[-visible:]}"

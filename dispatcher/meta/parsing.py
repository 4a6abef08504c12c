"""JSON that came from outside, in and out again: total, whatever the bytes. Knows no webhook."""

import json
import re
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json

# Pairs of surrogates and other escapes are stepped over, so that what is left of surrogates stands alone.
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
_DIGITS_MAX = 4000  # Python refuses to convert longer integers


def parsed(body: bytes) -> Any:
    """Return what the bytes say.

    Half an emoji and numbers of thousands of digits are repaired, because one person's odd text must not hide the
    other updates of its batch.

    Raises:
        ValueError: they are no JSON, or nested beyond all reason.
    """
    try:
        return from_json(body)
    except ValueError:
        pass
    text = _ESCAPE.sub(_repaired, body.decode(errors="replace"))
    try:
        return json.loads(text, parse_int=_integer)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def compact(value: Any) -> str:
    """Return JSON without spaces.

    Raises:
        ValueError: it is nested too deeply.
    """
    try:
        return to_json(value, inf_nan_mode="null").decode()
    except PydanticSerializationError:
        raise ValueError("nested too deeply") from None


def _repaired(escape: re.Match[str]) -> str:
    return r"\ufffd" if escape[1] else escape[0]


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _DIGITS_MAX else digits

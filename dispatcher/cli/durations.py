"""Durations and times as people write them on a command line."""

import re
from datetime import datetime
from typing import Final

import typer

from dispatcher.message.message import read_moment

_UNITS_S: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhd]?)")


def duration_s(text: str) -> float:
    """Read `90s`, `15m`, `2h`, `1d` or plain seconds.

    Raises:
        BadParameter: it is none of these, or no time at all.
    """
    found = _DURATION.fullmatch(text.strip().lower())
    seconds = float(found[1]) * _UNITS_S[found[2]] if found else 0.0
    if seconds <= 0:
        raise typer.BadParameter(f"{text!r} is no duration: write 90s, 15m, 2h, 1d, or seconds")
    return seconds


def moment(text: str) -> datetime:
    """Read a time in ISO 8601 with its zone.

    Raises:
        BadParameter: it is none, or has no zone.
    """
    try:
        found = read_moment(text)
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from None
    if found is None:
        raise typer.BadParameter('must be a time such as "2026-11-22T15:00:00Z"')
    return found

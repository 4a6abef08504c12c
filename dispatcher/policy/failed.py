"""What follows from the code of a `failed` receipt: an accepted message that Meta then could not deliver. Pure data.

Only what says nothing against the message or its recipient may go again, and only while its body is still there: the id
that failed proves that nobody has got it. Sources as in `table`.
"""

# Seconds until the next try; costs an attempt.
_AFTER_S: dict[int, float] = {
    1: 30,  # unknown error (design)
    2: 30,  # service down or overloaded (codes)
    131000: 30,  # something went wrong (codes)
    131016: 30,  # service overloaded (codes)
    131057: 60,  # number in maintenance, a minute at most (codes)
    130429: 5,  # throughput of the number (codes)
    131056: 60,  # pair limit: a burst is paid back with six seconds a message (platform)
}

OPTED_OUT = 131050
"""The user wants no more marketing (codes)."""


def retry_after_s(code: int | None) -> float | None:
    """Return after how many seconds a message that failed with `code` may be posted again; None for never."""
    return None if code is None else _AFTER_S.get(code)

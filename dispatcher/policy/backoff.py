"""How long a gate stays closed: exponential backoff, capped first and jittered after, so that jitter survives the cap.

Knows neither time nor chance: both are arguments.
"""

# A throttled, unreachable or doubtful endpoint: it mends itself, and soon is worth a look (design, flow, step 6).
FIRST_S = 0.25
CAP_S = 30.0

# A credential: calls with a bad token are refused anyway, and a change of the token file opens the gate at once.
CREDENTIAL_FIRST_S = 5.0
CREDENTIAL_CAP_S = 300.0

# A transient answer about one message (design, data, defaults per lane): one-time passwords until their time runs out,
# the others eight times in about an hour.
URGENT_RETRY_FIRST_S = 0.2
URGENT_RETRY_CAP_S = 5.0
RETRY_FIRST_S = 30.0
RETRY_CAP_S = 1800.0

# 2**64 times anything above a nanosecond is past any cap; a larger exponent would overflow a float.
_MOST_DOUBLINGS = 64


def retry_s(attempts: int, *, is_urgent: bool, rand: float) -> float:
    """Return in how many seconds a message is due again that was refused for now, after `attempts` before this one."""
    if is_urgent:
        return full_jitter(attempts, first_s=URGENT_RETRY_FIRST_S, cap_s=URGENT_RETRY_CAP_S, rand=rand)
    return full_jitter(attempts, first_s=RETRY_FIRST_S, cap_s=RETRY_CAP_S, rand=rand)


def full_jitter(streak: int, *, first_s: float, cap_s: float, rand: float) -> float:
    """Return seconds in [0, min(cap_s, first_s * 2**streak)], spread evenly by `rand` in [0, 1).

    `streak` counts the closings or tries in a row before this one: 0 for the first. Below 0 it counts as 0.
    """
    doublings = min(max(streak, 0), _MOST_DOUBLINGS)
    return float(rand * min(cap_s, first_s * 2.0**doublings))

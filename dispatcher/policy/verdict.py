"""Judges the reply to one POST: what became of the message, and what that means for the number's gate.

Pure and total: any status, any JSON, never an exception. Knows no httpx, no queue and no clock; codes are in `codes`.

The Graph code decides, the HTTP status only where no known code is given. What is neither proved taken nor proved
refused is uncertain, and that is also the default for whatever nobody has thought of.
"""

import re
from typing import assert_never

from dispatcher.policy import backoff, codes
from dispatcher.policy.codes import Rule
from dispatcher.policy.outcome import (
    Accepted,
    Answer,
    Close,
    Doubt,
    GateChange,
    Lost,
    Open,
    Reject,
    Reply,
    RetryLater,
    Snooze,
    Uncertain,
    Unsent,
    Verdict,
    Why,
)

# Message statuses of a 200 that mean "taken"; None where there is none, as on most sends (send-messages page).
_TAKEN = (None, "accepted", "held_for_quality_assessment")
_HELD = "held_for_quality_assessment"

# The template is paused and the message will not be delivered (send-messages page). Our reading: a refusal with an
# id. Waiting for a receipt would be in vain, and posting it again meets the same pause.
_PAUSED = "paused"

_STATUSES = (200, 301, 302, 307, 308, 400, 401, 403, 404, 408, 413, 429, 500, 502, 503, 504)
LABELS: frozenset[str] = frozenset(
    {"ok", "held", "paused", "unknown_status", "lost", "unsent", "other"}
    | {row.label for row in codes.TABLE}
    | {f"http_{status}" for status in _STATUSES}
)
"""Every value that `label` can return: metrics take theirs from this closed set."""


def label(code: str) -> str:
    """Return the metrics label of a `Verdict.code`: the code itself, its range, or "other" for one we do not know."""
    row = codes.find(int(code)) if re.fullmatch(r"[0-9]{1,9}", code) else None
    if row is not None:
        return row.label
    return code if code in LABELS else "other"


def judge(reply: Reply, *, streak: int, attempts: int, is_urgent: bool, rand: float) -> Verdict:
    """Return what a POST ended in.

    `streak` counts the closings in a row of this number's gate so far, `attempts` those of the message before this one;
    `rand` in [0, 1) is the chance in the backoff of both.
    """
    match reply:
        case Unsent(reason):
            error = codes.error("unsent", reason)
            return Verdict(Snooze(error), _close(Why.UNREACHABLE, streak, rand), "unsent")
        case Lost(reason):
            return _uncertain("lost", reason, streak, rand)
        case Answer():
            return _answered(reply, attempts, (streak, rand), is_urgent=is_urgent)
        case _:
            assert_never(reply)


def _answered(answer: Answer, attempts: int, chance: tuple[int, float], *, is_urgent: bool) -> Verdict:
    """Judge an answer: an id first, as what was taken must not be posted again; then the code; then the status."""
    wamid, taken_as = _receipt(answer)
    if wamid is not None:
        return _taken(wamid, taken_as, *chance)
    code, text = _graph_error(answer.body)
    rule = _rule(answer.status, code)
    name = f"http_{answer.status}" if code is None else str(code)
    if rule is Rule.REJECTED and _is_transient(answer.body, code):
        after_s = backoff.retry_s(attempts, is_urgent=is_urgent, rand=chance[1])
        return Verdict(RetryLater(after_s, codes.error(name, text)), Open(), name)
    return _verdict(rule, name, text, chance)


def _rule(status: int, code: int | None) -> Rule:
    """Return what follows from a Graph code, or else from an HTTP status."""
    row = None if code is None else codes.find(code)
    if row is not None:
        proves_nothing = row.rule is Rule.REJECTED and status >= 500
        return Rule.UNCERTAIN if proves_nothing else row.rule
    if status == 429:
        return Rule.THROTTLED
    if status in (401, 403):
        return Rule.CREDENTIAL
    # The one default for a code nobody has told us of: a 4xx in Graph's own words refuses, all else leaves it open.
    return Rule.REJECTED if code is not None and 400 <= status < 500 else Rule.UNCERTAIN


def _verdict(rule: Rule, name: str, text: str, chance: tuple[int, float]) -> Verdict:
    error = codes.error(name, text)
    match rule:
        case Rule.PAIR:
            # About one recipient: it says nothing of the number's throughput, so the gate neither closes nor opens.
            return Verdict(Snooze(error, codes.PAIR_WAIT_S), None, name)
        case Rule.THROTTLED:
            return Verdict(Snooze(error), _close(Why.THROTTLED, *chance), name)
        case Rule.CREDENTIAL:
            return Verdict(Snooze(error), _close(Why.CREDENTIAL, *chance), name)
        case Rule.REJECTED:
            # A definite answer about the message is a sign of an endpoint that works.
            return Verdict(Reject(error), Open(), name)
        case Rule.UNCERTAIN:
            return _uncertain(name, text, *chance)
        case _:
            assert_never(rule)


def _taken(wamid: str, taken_as: object, streak: int, rand: float) -> Verdict:
    """Judge a 200 with an id; a status we do not know is uncertain, whose receipt will tell."""
    if taken_as in _TAKEN:
        held = taken_as == _HELD
        return Verdict(Accepted(wamid, held), Open(), "held" if held else "ok")
    if taken_as == _PAUSED:
        return Verdict(Reject(codes.error("paused", "template paused, will not be delivered")), Open(), "paused")
    return _uncertain("unknown_status", taken_as if isinstance(taken_as, str) else "", streak, rand)


def _uncertain(name: str, text: str, streak: int, rand: float) -> Verdict:
    for_s = backoff.full_jitter(streak, first_s=backoff.FIRST_S, cap_s=backoff.CAP_S, rand=rand)
    return Verdict(Uncertain(codes.error(name, text)), Doubt(for_s), name)


def _close(why: Why, streak: int, rand: float) -> GateChange:
    """Return a closing of the gate; a credential mends slowly, and calls with a bad one are refused anyway."""
    first_s, cap_s = backoff.FIRST_S, backoff.CAP_S
    if why is Why.CREDENTIAL:
        first_s, cap_s = backoff.CREDENTIAL_FIRST_S, backoff.CREDENTIAL_CAP_S
    return Close(why, backoff.full_jitter(streak, first_s=first_s, cap_s=cap_s, rand=rand))


def _receipt(answer: Answer) -> tuple[str | None, object]:
    """Return id and message status of a 200; no id, no receipt."""
    messages = answer.body.get("messages") if answer.status == 200 and isinstance(answer.body, dict) else None
    first = messages[0] if isinstance(messages, list) and messages else None
    if not isinstance(first, dict):
        return None, None
    wamid = first.get("id")
    return (wamid, first.get("message_status")) if isinstance(wamid, str) and wamid else (None, None)


def _is_transient(body: object, code: int | None) -> bool:
    """Whether Graph says of a code that we do not know that it may pass."""
    is_known = code is not None and codes.find(code) is not None
    return not is_known and isinstance(body, dict) and body["error"].get("is_transient") is True


def _graph_error(body: object) -> tuple[int | None, str]:
    """Return code and text of a Graph error body; no code, no Graph error."""
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict):
        return None, ""
    code = codes.code_of(error.get("code"))
    if code is None:
        return None, ""
    texts = (error.get(field) for field in ("message", "title", "error_user_title"))
    return code, next((text for text in texts if isinstance(text, str) and text), "")

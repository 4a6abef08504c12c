"""A run in figures: waits, use of the rate, what was in flight at the kill, how uncertain sends were resolved. Pure."""

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from dispatcher.lab import judge
from dispatcher.lab.evidence import (
    CAMPAIGN,
    CODE,
    LANES,
    LATE,
    LATENCY_S,
    LEASE_ENDED,
    RECEIPTS,
    TAKEN,
    Evidence,
    UncertainSend,
    Way,
    kind_of,
)

THROTTLE: Final = "throttle"
UNDISTURBED: Final = "urgent_undisturbed"
"""Urgent messages that were queued while their number's gate was open and its worker alive."""
# From the arrival of what is throttled until the worker has the answer and has settled it.
_CLOSING_S: Final = LATENCY_S + 0.05

_SHARE_FROM_S: Final = 1.0

Pause = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds from enqueue to the first POST."""

    count: int
    p50_s: float
    p99_s: float
    most_s: float


@dataclass(frozen=True, slots=True)
class NumberFigures:
    """One number; `used` is the share of its rate while it had a backlog, `used_open` while its gate was open, too.

    Both are None of a backlog too short to tell.
    """

    number: str
    rate: float
    posts: int
    accepted: int
    largest_window: int
    refused: int
    throttled: int
    paused_s: float
    used: float | None
    used_open: float | None


@dataclass(frozen=True, slots=True)
class KillFigures:
    """What the killed worker had in flight: whose receipts came before their leases ended, which became uncertain.

    `sent_again` had another POST since, `accepted` are accepted now.
    """

    in_flight: int
    told: int
    uncertain: int
    sent_again: int
    accepted: int
    lost: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Messages by what became of them, of which some were sent `late`, and POSTs by what happened to them."""

    sent: int
    codes: int
    late: int
    accepted: int
    receipts: dict[str, int]
    uncertain: int
    other: dict[str, int]
    lost: int
    duplicates: int
    posts: int
    refused: int
    throttled: int
    unanswered: int


@dataclass(frozen=True, slots=True)
class WayFigures:
    """Sends that were resolved in one way, how many of them are accepted now, and seconds until it was decided.

    `settled_*` are seconds until it came to something: for what was sent again, until that was accepted. `missing` says
    which proofs there were none of, for what is held.
    """

    count: int
    accepted: int
    p50_s: float
    most_s: float
    settled_p50_s: float
    settled_most_s: float
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Resolved:
    """One uncertain send, and what became of it; without `decided_s` nothing did."""

    key: str
    error: str
    way: str
    state: str
    why: str
    decided_s: float | None
    settled_s: float | None


@dataclass(frozen=True, slots=True)
class Resolution:
    """All uncertain sends, by way; `early` are messages of which a receipt came before any answer, and before send."""

    sends: int
    messages: int
    early: int
    by_reason: dict[str, int]
    by_way: dict[str, WayFigures]
    each: tuple[Resolved, ...]


def totals(evidence: Evidence) -> Totals:
    """Add up all messages and POSTs."""
    states = Counter(final.state for final in evidence.states.values())
    received = Counter(status for statuses in evidence.receipts.values() for status in statuses)
    kinds = Counter(kind_of(key) for key in evidence.sent)
    posts = evidence.posts
    return Totals(
        sent=len(evidence.sent),
        codes=kinds[CODE],
        late=sum(count for kind, count in kinds.items() if kind in LATE.values()),
        accepted=sum(states.pop(state, 0) for state in TAKEN),
        receipts={status: received[status] for status in RECEIPTS},
        uncertain=states.pop("uncertain", 0),
        other=dict(states),
        lost=len(judge.lost_keys(evidence)),
        duplicates=len(judge.doubled_keys(evidence)),
        posts=len(posts),
        refused=sum(window.refused for window in evidence.windows.values()),
        throttled=sum(post.outcome == THROTTLE for post in posts),
        unanswered=sum(post.status is None for post in posts),
    )


def waits(evidence: Evidence) -> dict[str, Waits]:
    """Return the waits of each lane, urgent first, and of the urgent ones that found their number undisturbed."""
    pauses = {number: pauses_of(evidence, number) for number in evidence.windows}
    first = judge.first_posts(evidence.posts)
    waited: dict[str, list[float]] = {"urgent": [], UNDISTURBED: [], "bulk": []}
    for key, sent in evidence.sent.items():
        if key in first:
            lane, waited_s = LANES[kind_of(key)], max(0.0, first[key].at_s - sent.at_s)
            waited[lane].append(waited_s)
            if lane == "urgent" and not any(a <= sent.at_s <= b for a, b in pauses.get(sent.number, ())):
                waited[UNDISTURBED].append(waited_s)
    return {
        name: Waits(len(found), percentile(found, 50), percentile(found, 99), max(found, default=0.0))
        for name, found in waited.items()
    }


def numbers(evidence: Evidence) -> list[NumberFigures]:
    """Return the use of each number."""
    return [_number(evidence, number) for number in sorted(evidence.windows)]


def killed(evidence: Evidence) -> KillFigures:
    """Return how it stands with what the killed worker had in flight."""
    keys = set(judge.killed_keys(evidence))
    sending = evidence.kill.sending
    lapsed = {send.key for send in evidence.uncertain_sends if send.error == LEASE_ENDED} & keys
    return KillFigures(
        in_flight=len(keys),
        told=len(keys & evidence.accepted_by_receipt - lapsed),
        uncertain=len(lapsed),
        sent_again=len({post.key for post in evidence.posts if post.key in keys and post.claim > sending[post.key]}),
        accepted=sum(key in evidence.states and evidence.states[key].state in TAKEN for key in keys),
        lost=len(keys.intersection(judge.lost_keys(evidence))),
    )


def pauses_of(evidence: Evidence, number: str) -> list[Pause]:
    """Return when the number could not be served freely: its gate closed by a throttling answer, or its worker dead.

    A gate is open again with the second POST after it closed: the first one only tries it.
    """
    times = [post.at_s for post in evidence.posts if post.number == number]
    found: list[Pause] = []
    for post in evidence.posts:
        if post.number == number and post.outcome == THROTTLE:
            after = bisect_right(times, post.at_s + _CLOSING_S) + 1
            found.append((post.at_s, times[min(after, len(times) - 1)]))
    waited_s = judge.served_again_s(evidence).get(number)
    if waited_s is not None:
        found.append((evidence.kill.at_s, evidence.kill.at_s + waited_s))
    return _merged(found)


def resolution(evidence: Evidence) -> Resolution:
    """Work out how it went. Every way is there, also those that nothing was resolved in."""
    sends = evidence.uncertain_sends
    reasons = [send.error for send in sends]
    keys = {send.key for send in sends}
    return Resolution(
        sends=len(sends),
        messages=len(keys),
        early=len(evidence.accepted_by_receipt - keys),
        by_reason={reason: reasons.count(reason) for reason in dict.fromkeys(reasons)},
        by_way={way.value: _way(evidence, [send for send in sends if send.way is way]) for way in Way},
        each=tuple(_resolved(evidence, send) for send in sends),
    )


def resolution_as_dict(found: Resolution) -> dict[str, object]:
    """Return it as plain values for JSON, times in ms precision."""
    plain: dict[str, object] = asdict(found)
    plain["by_way"] = {way: _rounded(asdict(figures)) for way, figures in found.by_way.items()}
    plain["each"] = [_rounded(asdict(one)) for one in found.each]
    return plain


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that so many percent do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else 0.0


def _number(evidence: Evidence, number: str) -> NumberFigures:
    own = [post for post in evidence.posts if post.number == number]
    begin = own[0].at_s if own else 0.0
    campaign = (post for post in own if kind_of(post.key) == CAMPAIGN)
    # what is sent again on evidence may come long after the rest
    end = max((post.at_s for post in judge.first_posts(campaign).values()), default=begin)
    pauses = [(max(begin, a), min(end, b)) for a, b in pauses_of(evidence, number) if b > begin and a < end]
    paused_s = sum(b - a for a, b in pauses)
    busy = [post.at_s for post in own if post.wamid and post.at_s <= end]
    free = [at_s for at_s in busy if not any(a <= at_s <= b for a, b in pauses)]
    window = evidence.windows[number]
    return NumberFigures(
        number=number,
        rate=window.rate,
        posts=len(own),
        accepted=sum(post.wamid is not None for post in own),
        largest_window=window.largest,
        refused=window.refused,
        throttled=sum(post.outcome == THROTTLE for post in own),
        paused_s=paused_s,
        used=_share(len(busy), end - begin, window.rate),
        used_open=_share(len(free), end - begin - paused_s, window.rate),
    )


def _share(count: int, seconds: float, rate: float) -> float | None:
    """Return the share of the rate, None of a short time; the first opens the time that the others fill."""
    return (count - 1) / seconds / rate if seconds >= _SHARE_FROM_S else None


def _merged(pauses: list[Pause]) -> list[Pause]:
    merged: list[Pause] = []
    for begin, end in sorted(pauses):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((begin, end))
    return merged


def _way(evidence: Evidence, sends: list[UncertainSend]) -> WayFigures:
    decided = [send.decided_at_s - send.at_s for send in sends if send.decided_at_s is not None]
    settled = [send.ended_at_s - send.at_s for send in sends if send.ended_at_s is not None]
    return WayFigures(
        count=len(sends),
        accepted=sum(_state(evidence, send) in TAKEN for send in sends),
        p50_s=percentile(decided, 50),
        most_s=max(decided, default=0.0),
        settled_p50_s=percentile(settled, 50),
        settled_most_s=max(settled, default=0.0),
        missing=tuple(sorted({send.why for send in sends if send.why})),
    )


def _resolved(evidence: Evidence, send: UncertainSend) -> Resolved:
    return Resolved(
        key=send.key,
        error=send.error,
        way=send.way.value,
        state=_state(evidence, send),
        why=send.why,
        decided_s=None if send.decided_at_s is None else send.decided_at_s - send.at_s,
        settled_s=None if send.ended_at_s is None else send.ended_at_s - send.at_s,
    )


def _state(evidence: Evidence, send: UncertainSend) -> str:
    final = evidence.states.get(send.key)
    return final.state if final else "unknown"


def _rounded(values: dict[str, object]) -> dict[str, object]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in values.items()}

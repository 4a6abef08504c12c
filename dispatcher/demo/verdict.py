"""Judges a run: which promises held, and what broke the others. Pure; knows neither Redis nor the simulator."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from dispatcher.demo.evidence import LEASE_ENDED, Evidence, Fate, Post
from dispatcher.states import State

RECOVERY_LIMIT_S: Final = 10.0
_NAMED: Final = 3
_SETTLED: Final = frozenset(state.value for state in State if state.is_settled)
_TAKEN: Final = frozenset({"accepted", "sent", "delivered", "read", "played"})


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise in words, and what broke it; nothing, if it held."""

    name: str
    words: str
    broken: tuple[str, ...]

    @property
    def is_held(self) -> bool:
        """Whether nothing broke it."""
        return not self.broken


def judge(evidence: Evidence) -> tuple[Promise, ...]:
    """Return every promise the demo can judge."""
    once = "nothing is accepted twice, in two POSTs at once, or posted after its acceptance"
    again = f"after SIGKILL its numbers are served again within {RECOVERY_LIMIT_S:g} s"
    return (
        Promise("P1 accounted for", "nothing is lost: each message is settled or visibly uncertain", _lost(evidence)),
        Promise("P2 once", once, _twice(evidence)),
        Promise("P3 no blind resend", "what is uncertain is not posted again without evidence", _resent(evidence)),
        Promise("P4 rate", "no one-second window holds more than the number's rate", _too_fast(evidence)),
        Promise("P6 clean stop", "on SIGTERM a worker ends by itself, in time", _not_stopped(evidence)),
        Promise("P7 fast recovery", again, _not_recovered(evidence)),
    )


def lost_keys(evidence: Evidence) -> list[str]:
    """Return the messages that are neither settled nor uncertain with a reason."""
    return [key for key in evidence.sent if not _is_accounted_for(evidence.fates.get(key))]


def doubled_keys(evidence: Evidence) -> list[str]:
    """Return the messages that were accepted more than once."""
    taken = Counter(post.key for post in evidence.posts if post.wamid)
    return [key for key, count in taken.items() if count > 1]


def killed_keys(evidence: Evidence) -> list[str]:
    """Return what the killed worker had in flight.

    That is what was under way as it died, but for what got an answer since: only the process that claimed a message
    settles it, so an answer shows that the claim was a living worker's.
    """
    return [key for key in evidence.kill.sending if not _was_answered(evidence.fates.get(key))]


def served_again_s(evidence: Evidence) -> dict[str, float | None]:
    """Return how long each number that the kill left alone waited to be served again; None if it waited in vain.

    A number counts as waiting from the kill on, or from its first message after that if nothing was waiting then; one
    without any is left out. Served means a POST by a living worker: one whose claim was not under way at the kill.
    """
    found: dict[str, float | None] = {}
    kill, first = evidence.kill, first_posts(evidence.posts)
    for number in kill.numbers:
        waiting = [
            max(sent.at_s, kill.at_s)
            for key, sent in evidence.sent.items()
            if sent.number == number and key not in kill.sending and (key not in first or first[key].at_s >= kill.at_s)
        ]
        if waiting:
            served = (post.at_s for post in evidence.posts if post.number == number and _is_later(post, evidence))
            at_s = next(served, None)
            found[number] = None if at_s is None else max(0.0, at_s - min(waiting))
    return found


def first_posts(posts: Iterable[Post]) -> dict[str, Post]:
    """Return the first POST of each key."""
    found: dict[str, Post] = {}
    for post in posts:
        found.setdefault(post.key, post)
    return found


def _is_later(post: Post, evidence: Evidence) -> bool:
    return post.at_s >= evidence.kill.at_s and evidence.kill.sending.get(post.key) != post.claim


def _is_accounted_for(fate: Fate | None) -> bool:
    if fate is None:
        return False
    return fate.state in _SETTLED or (fate.state == State.UNCERTAIN and bool(fate.error or fate.cause))


def _was_answered(fate: Fate | None) -> bool:
    if fate is None:
        return False
    return fate.state in _SETTLED or (fate.state == State.UNCERTAIN and fate.error != LEASE_ENDED)


def _lost(evidence: Evidence) -> tuple[str, ...]:
    """P1, and that Redis and the simulator tell the same story of what was accepted."""
    wamids: dict[str, set[str]] = {}
    for post in evidence.posts:
        wamids.setdefault(post.key, set()).update({post.wamid} if post.wamid else ())
    fates = evidence.fates
    invented = [key for key, fate in fates.items() if fate.state in _TAKEN and fate.wamid not in wamids.get(key, set())]
    forgotten = [
        post.key
        for post in evidence.posts
        if post.wamid and (fate := fates.get(post.key)) and fate.state not in _TAKEN | {State.UNCERTAIN}
    ]
    return _said(
        ("lost or still waiting at the end", [f"{key} ({_stands(fates, key)})" for key in lost_keys(evidence)]),
        ("accepted in Redis, but not by the simulator", invented),
        ("accepted by the simulator, but Redis says otherwise", forgotten),
    )


def _twice(evidence: Evidence) -> tuple[str, ...]:
    taken: set[str] = set()
    again: list[str] = []
    for post in evidence.posts:
        if post.key in taken:
            again.append(post.key)
        elif post.wamid:
            taken.add(post.key)
    overlapping = [f"{evidence.overlapping} keys"] if evidence.overlapping else []
    return _said(
        ("accepted twice", doubled_keys(evidence)),
        ("posted after it was accepted", again),
        ("in two POSTs at the same time", overlapping),
    )


def _resent(evidence: Evidence) -> tuple[str, ...]:
    """P3 from both sides: an unanswered POST, or a message seen to be uncertain, is followed by another POST."""
    unanswered: set[str] = set()
    after_silence: list[str] = []
    for post in evidence.posts:
        if post.key in unanswered:
            after_silence.append(post.key)
        if post.status is None:
            unanswered.add(post.key)
    uncertain = evidence.uncertain_at_s
    known = [post.key for post in evidence.posts if post.at_s > uncertain.get(post.key, float("inf"))]
    return _said(("posted again after no answer", after_silence), ("posted again while uncertain", known))


def _too_fast(evidence: Evidence) -> tuple[str, ...]:
    full = [
        f"{number}: {window.largest} where {window.rate:g} is the limit"
        for number, window in evidence.windows.items()
        if window.largest > int(window.rate)
    ]
    refused = [f"{number}: {window.refused}" for number, window in evidence.windows.items() if window.refused]
    return _said(("too much in a second", full), ("refused for the rate", refused))


def _not_stopped(evidence: Evidence) -> tuple[str, ...]:
    return _said(
        ("had to be killed", [stop.worker for stop in evidence.exits if stop.code is None]),
        ("ended badly", [f"{stop.worker} (code {stop.code})" for stop in evidence.exits if stop.code]),
    )


def _not_recovered(evidence: Evidence) -> tuple[str, ...]:
    served = served_again_s(evidence)
    late = [f"{number} after {s:.1f} s" for number, s in served.items() if s is not None and s > RECOVERY_LIMIT_S]
    return _said(("never served again", [number for number, s in served.items() if s is None]), ("late", late))


def _stands(fates: Mapping[str, Fate], key: str) -> str:
    fate = fates.get(key)
    return " ".join(filter(None, (fate.state, fate.cause))) if fate else "unknown"


def _said(*troubles: tuple[str, list[str]]) -> tuple[str, ...]:
    """Put what broke a promise in words, and name some."""
    return tuple(
        f"{what}: {', '.join(who[:_NAMED])}" + (f" and {len(who) - _NAMED} more" if len(who) > _NAMED else "")
        for what, who in troubles
        if who
    )

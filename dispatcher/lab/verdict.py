"""Judges a run: which promises held, and what broke the others. Pure; knows neither Redis nor the simulator."""

from collections.abc import Iterable, Mapping
from typing import Final

from dispatcher.lab import books
from dispatcher.lab.evidence import LEASE_ENDED, TAKEN, Evidence, Fate, Post
from dispatcher.lab.promise import Promise, said
from dispatcher.message.states import State

RECOVERY_LIMIT_S: Final = 10.0
_SETTLED: Final = frozenset(state.value for state in State if state.is_settled)


def judge(evidence: Evidence) -> tuple[Promise, ...]:
    """Return every promise the demo can judge."""
    once = "nothing is accepted twice, in two POSTs at once, or posted after its acceptance"
    again = f"after SIGKILL its numbers are served again within {RECOVERY_LIMIT_S:g} s"
    blind = "what is uncertain is posted again only on proof that it was not accepted"
    return (
        Promise("P1 accounted for", "nothing is lost: each message is settled or visibly uncertain", _lost(evidence)),
        Promise("P2 once", once, books.twice(evidence)),
        Promise("P3 no blind resend", blind, books.resent(evidence)),
        Promise("all resolved", "every uncertain send was resolved before the end", books.unresolved(evidence)),
        Promise("states agree", "Redis knows each status that the simulator sent", books.disagreeing(evidence)),
        Promise("P4 rate", "no one-second window holds more than the number's rate", _too_fast(evidence)),
        Promise(
            "P6 clean stop", "on SIGTERM workers and webhook door end by themselves, in time", _not_stopped(evidence)
        ),
        Promise("P7 fast recovery", again, _not_recovered(evidence)),
    )


def lost_keys(evidence: Evidence) -> list[str]:
    """Return the messages that are neither settled nor uncertain with a reason."""
    return [key for key in evidence.sent if not _is_accounted_for(evidence.fates.get(key))]


def killed_keys(evidence: Evidence) -> list[str]:
    """Return what the killed worker had in flight.

    That is what was under way as it died, but for what got an answer since: only the process that claimed a message
    hears one, so an answer shows that the claim was a living worker's. A receipt, or the end of a lease, shows nothing.
    """
    lapsed = {doubt.key for doubt in evidence.doubts if doubt.error == LEASE_ENDED}
    answered = {doubt.key for doubt in evidence.doubts} - lapsed
    unheard = lapsed | (evidence.heard - answered)
    return [key for key in evidence.kill.sending if key in unheard or not _was_answered(evidence.fates.get(key))]


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
    invented = [key for key, fate in fates.items() if fate.state in TAKEN and fate.wamid not in wamids.get(key, set())]
    forgotten = [
        post.key
        for post in evidence.posts
        if post.wamid and (fate := fates.get(post.key)) and fate.state not in (*TAKEN, State.UNCERTAIN)
    ]
    return said(
        ("lost or still waiting at the end", [f"{key} ({_stands(fates, key)})" for key in lost_keys(evidence)]),
        ("accepted in Redis, but not by the simulator", invented),
        ("accepted by the simulator, but Redis says otherwise", forgotten),
    )


def _too_fast(evidence: Evidence) -> tuple[str, ...]:
    full = [
        f"{number}: {window.largest} where {window.rate:g} is the limit"
        for number, window in evidence.windows.items()
        if window.largest > int(window.rate)
    ]
    refused = [f"{number}: {window.refused}" for number, window in evidence.windows.items() if window.refused]
    return said(("too much in a second", full), ("refused for the rate", refused))


def _not_stopped(evidence: Evidence) -> tuple[str, ...]:
    return said(
        ("had to be killed", [stop.worker for stop in evidence.exits if stop.code is None]),
        ("ended badly", [f"{stop.worker} (code {stop.code})" for stop in evidence.exits if stop.code]),
    )


def _not_recovered(evidence: Evidence) -> tuple[str, ...]:
    served = served_again_s(evidence)
    late = [f"{number} after {s:.1f} s" for number, s in served.items() if s is not None and s > RECOVERY_LIMIT_S]
    return said(("never served again", [number for number, s in served.items() if s is None]), ("late", late))


def _stands(fates: Mapping[str, Fate], key: str) -> str:
    fate = fates.get(key)
    return " ".join(filter(None, (fate.state, fate.cause))) if fate else "unknown"

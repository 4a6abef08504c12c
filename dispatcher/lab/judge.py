"""Judges a run: which promises held, and what broke the others. Pure; knows neither Redis nor the simulator.

Redis and the simulator's ledger do not know each other: what each says is held against the other.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from dispatcher.lab.evidence import LEASE_ENDED, RECEIPTS, TAKEN, Evidence, FinalState, Post, Way
from dispatcher.message.states import State

RECOVERY_LIMIT_S: Final = 10.0
_SETTLED: Final = frozenset(state.value for state in State if state.is_settled)
# Redis tells its times in whole ms, and the ledger's clock is known to about one.
_CLOCKS_S: Final = 0.005
_EXPECTED: Final = frozenset(RECEIPTS[:2])
"""What the simulator sends of every message it takes, unless it is set to lose some; `read` of some."""
_NAMED: Final = 3


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
    blind = "what is uncertain is posted again only on proof that it was not accepted"
    return (
        Promise("P1 accounted for", "nothing is lost: each message is settled or visibly uncertain", _lost(evidence)),
        Promise("P2 once", once, _twice(evidence)),
        Promise("P3 no blind resend", blind, _resent(evidence)),
        Promise("all resolved", "every uncertain send was resolved before the end", _unresolved(evidence)),
        Promise("states agree", "Redis knows each status that the simulator sent", _disagreeing(evidence)),
        Promise("P4 rate", "no one-second window holds more than the number's rate", _too_fast(evidence)),
        Promise("P6 clean stop", "on SIGTERM workers and API end by themselves, in time", _not_stopped(evidence)),
        Promise("P7 fast recovery", again, _not_recovered(evidence)),
    )


def lost_keys(evidence: Evidence) -> list[str]:
    """Return the messages that are neither settled nor uncertain with a reason."""
    return [key for key in evidence.sent if not _is_accounted_for(evidence.states.get(key))]


def killed_keys(evidence: Evidence) -> list[str]:
    """Return what the killed worker had in flight.

    That is what was under way as it died, but for what got an answer since: only the process that claimed a message
    hears one, so an answer shows that the claim was a living worker's. A receipt, or the end of a lease, shows nothing.
    """
    lapsed = {send.key for send in evidence.uncertain_sends if send.error == LEASE_ENDED}
    answered = {send.key for send in evidence.uncertain_sends} - lapsed
    unheard = lapsed | (evidence.accepted_by_receipt - answered)
    return [key for key in evidence.kill.sending if key in unheard or not _was_answered(evidence.states.get(key))]


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


def doubled_keys(evidence: Evidence) -> list[str]:
    """Return the messages that were accepted more than once."""
    taken = Counter(post.key for post in evidence.posts if post.wamid)
    return [key for key, count in taken.items() if count > 1]


def _is_later(post: Post, evidence: Evidence) -> bool:
    return post.at_s >= evidence.kill.at_s and evidence.kill.sending.get(post.key) != post.claim


def _is_accounted_for(final: FinalState | None) -> bool:
    if final is None:
        return False
    return final.state in _SETTLED or (final.state == State.UNCERTAIN and bool(final.error or final.cause))


def _was_answered(final: FinalState | None) -> bool:
    if final is None:
        return False
    return final.state in _SETTLED or (final.state == State.UNCERTAIN and final.error != LEASE_ENDED)


def _lost(evidence: Evidence) -> tuple[str, ...]:
    """P1, and that Redis and the simulator tell the same story of what was accepted."""
    wamids: dict[str, set[str]] = {}
    for post in evidence.posts:
        wamids.setdefault(post.key, set()).update({post.wamid} if post.wamid else ())
    states = evidence.states
    invented = [
        key for key, final in states.items() if final.state in TAKEN and final.wamid not in wamids.get(key, set())
    ]
    forgotten = [
        post.key
        for post in evidence.posts
        if post.wamid and (final := states.get(post.key)) and final.state not in (*TAKEN, State.UNCERTAIN)
    ]
    return _broken_by(
        ("lost or still waiting at the end", [f"{key} ({_stands(states, key)})" for key in lost_keys(evidence)]),
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
    return _broken_by(("too much in a second", full), ("refused for the rate", refused))


def _not_stopped(evidence: Evidence) -> tuple[str, ...]:
    return _broken_by(
        ("had to be killed", [stop.process for stop in evidence.exits if stop.code is None]),
        ("ended badly", [f"{stop.process} (code {stop.code})" for stop in evidence.exits if stop.code]),
    )


def _not_recovered(evidence: Evidence) -> tuple[str, ...]:
    served = served_again_s(evidence)
    late = [f"{number} after {s:.1f} s" for number, s in served.items() if s is not None and s > RECOVERY_LIMIT_S]
    return _broken_by(("never served again", [number for number, s in served.items() if s is None]), ("late", late))


def _stands(states: Mapping[str, FinalState], key: str) -> str:
    final = states.get(key)
    return " ".join(filter(None, (final.state, final.cause))) if final else "unknown"


def _twice(evidence: Evidence) -> tuple[str, ...]:
    """Find what was accepted twice, posted after its acceptance, or posted twice under one claim.

    The claims of a key rise from POST to POST, so one that was claimed after its acceptance shows in the ledger.
    """
    taken: set[str] = set()
    claims: dict[str, int] = {}
    again: list[str] = []
    fallen: list[str] = []
    for post in evidence.posts:
        if post.key in taken:
            again.append(f"{post.key} (claim {post.claim})")
        elif post.wamid:
            taken.add(post.key)
        if post.claim <= claims.get(post.key, 0):
            fallen.append(f"{post.key} (claim {post.claim})")
        claims[post.key] = max(post.claim, claims.get(post.key, 0))
    overlapping = [f"{evidence.overlapping} keys"] if evidence.overlapping else []
    return _broken_by(
        ("accepted twice", doubled_keys(evidence)),
        ("posted after it was accepted", again),
        ("posted under a claim that was not new", fallen),
        ("in two POSTs at the same time", overlapping),
    )


def _resent(evidence: Evidence) -> tuple[str, ...]:
    """Find what was posted again without proof.

    From both sides: each POST after an unanswered one needs a proof of absence of its own in Redis; none comes while
    Redis says that the message is uncertain.
    """
    proofs = Counter(send.key for send in evidence.uncertain_sends if send.way is Way.ABSENCE)
    after_silence: Counter[str] = Counter()
    unanswered: set[str] = set()
    for post in evidence.posts:
        after_silence[post.key] += post.key in unanswered
        unanswered.discard(post.key)
        if post.status is None:
            unanswered.add(post.key)
    return _broken_by(
        ("posted again after no answer, without proof", [key for key, n in after_silence.items() if n > proofs[key]]),
        ("posted again while uncertain", _posted_while_uncertain(evidence)),
        ("sent again without proof", [send.key for send in evidence.uncertain_sends if send.way is Way.UNPROVEN]),
    )


def _unresolved(evidence: Evidence) -> tuple[str, ...]:
    """Find what is uncertain still, or was sent again and came to nothing."""
    still = {key for key, final in evidence.states.items() if final.state == State.UNCERTAIN}
    still.update(send.key for send in evidence.uncertain_sends if send.way is Way.OPEN)
    again = [send.key for send in evidence.uncertain_sends if send.way is not Way.OPEN and send.ended_at_s is None]
    return _broken_by(("uncertain at the end", sorted(still)), ("sent again, and not settled since", again))


def _disagreeing(evidence: Evidence) -> tuple[str, ...]:
    """Find where Redis knows less of a message, or more, than the simulator said of it."""
    taken = dict.fromkeys(post.key for post in evidence.posts if post.wamid)
    received = {key: evidence.receipts.get(key, frozenset()) for key in taken}
    behind = [
        f"{key} ({final.state})"
        for key, final in evidence.states.items()
        if final.state in TAKEN and TAKEN.index(final.state) < _furthest(received.get(key, frozenset()))
    ]
    told = Counter(status for statuses in evidence.receipts.values() for status in statuses)
    given = evidence.webhooks.statuses
    counts = [
        f"{status} {told[status]} of {given.get(status, 0)}"
        for status in sorted({*told, *given})
        if told[status] != given.get(status, 0)
    ]
    waiting = evidence.webhooks.waiting
    expected = _EXPECTED - evidence.webhooks.lost
    return _broken_by(
        ("a status never arrived", [key for key, statuses in received.items() if not expected <= statuses]),
        ("a receipt of what was not accepted", [key for key in evidence.receipts if key not in taken]),
        ("the state is behind its receipts", behind),
        ("receipts in Redis, and statuses sent", counts),
        ("updates that were not delivered", [f"{waiting}"] if waiting else []),
    )


def _furthest(statuses: frozenset[str]) -> int:
    """Return how far receipts bring a message, as a place in TAKEN."""
    return max((TAKEN.index(status) for status in statuses if status in TAKEN), default=0)


def _posted_while_uncertain(evidence: Evidence) -> list[str]:
    sends = {key: [send for send in evidence.uncertain_sends if send.key == key] for key in _keys(evidence)}
    return [
        post.key
        for post in evidence.posts
        for send in sends.get(post.key, ())
        if send.at_s + _CLOCKS_S < post.at_s < (send.decided_at_s or float("inf")) - _CLOCKS_S
    ]


def _keys(evidence: Evidence) -> set[str]:
    return {send.key for send in evidence.uncertain_sends}


def _broken_by(*troubles: tuple[str, list[str]]) -> tuple[str, ...]:
    """Put what broke a promise in words, and name some."""
    return tuple(
        f"{what}: {', '.join(who[:_NAMED])}" + (f" and {len(who) - _NAMED} more" if len(who) > _NAMED else "")
        for what, who in troubles
        if who
    )

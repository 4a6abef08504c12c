"""Compares the two books that do not know each other, Redis and the simulator's ledger; pure.

Each function says what broke its promise.
"""

from collections import Counter
from typing import Final

from dispatcher.lab.evidence import RECEIPTS, TAKEN, Evidence, Way
from dispatcher.lab.promise import said
from dispatcher.message.states import State

# Redis tells its times in whole ms, and the ledger's clock is known to about one.
_CLOCKS_S: Final = 0.005
_EXPECTED: Final = frozenset(RECEIPTS[:2])
"""What the simulator sends of every message it takes, unless it is set to lose some; `read` of some."""


def twice(evidence: Evidence) -> tuple[str, ...]:
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
    return said(
        ("accepted twice", doubled_keys(evidence)),
        ("posted after it was accepted", again),
        ("posted under a claim that was not new", fallen),
        ("in two POSTs at the same time", overlapping),
    )


def doubled_keys(evidence: Evidence) -> list[str]:
    """Return the messages that were accepted more than once."""
    taken = Counter(post.key for post in evidence.posts if post.wamid)
    return [key for key, count in taken.items() if count > 1]


def resent(evidence: Evidence) -> tuple[str, ...]:
    """Find what was posted again without proof.

    From both sides: each POST after an unanswered one needs a proof of absence of its own in Redis; none comes while
    Redis says that the message is uncertain.
    """
    proofs = Counter(doubt.key for doubt in evidence.doubts if doubt.way is Way.ABSENCE)
    after_silence: Counter[str] = Counter()
    unanswered: set[str] = set()
    for post in evidence.posts:
        after_silence[post.key] += post.key in unanswered
        unanswered.discard(post.key)
        if post.status is None:
            unanswered.add(post.key)
    return said(
        ("posted again after no answer, without proof", [key for key, n in after_silence.items() if n > proofs[key]]),
        ("posted again while uncertain", _posted_while_uncertain(evidence)),
        ("sent again without proof", [doubt.key for doubt in evidence.doubts if doubt.way is Way.UNPROVEN]),
    )


def unresolved(evidence: Evidence) -> tuple[str, ...]:
    """Find what is uncertain still, or was sent again and came to nothing."""
    still = {key for key, fate in evidence.fates.items() if fate.state == State.UNCERTAIN}
    still.update(doubt.key for doubt in evidence.doubts if doubt.way is Way.OPEN)
    again = [doubt.key for doubt in evidence.doubts if doubt.way is not Way.OPEN and doubt.ended_at_s is None]
    return said(("uncertain at the end", sorted(still)), ("sent again, and not settled since", again))


def disagreeing(evidence: Evidence) -> tuple[str, ...]:
    """Find where Redis knows less of a message, or more, than the simulator said of it."""
    taken = dict.fromkeys(post.key for post in evidence.posts if post.wamid)
    received = {key: evidence.receipts.get(key, frozenset()) for key in taken}
    behind = [
        f"{key} ({fate.state})"
        for key, fate in evidence.fates.items()
        if fate.state in TAKEN and TAKEN.index(fate.state) < _furthest(received.get(key, frozenset()))
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
    return said(
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
    doubts = {key: [doubt for doubt in evidence.doubts if doubt.key == key] for key in _keys(evidence)}
    return [
        post.key
        for post in evidence.posts
        for doubt in doubts.get(post.key, ())
        if doubt.at_s + _CLOCKS_S < post.at_s < (doubt.decided_at_s or float("inf")) - _CLOCKS_S
    ]


def _keys(evidence: Evidence) -> set[str]:
    return {doubt.key for doubt in evidence.doubts}

"""A small run in which everything went well, to be spoilt by tests."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from dispatcher.lab.evidence import (
    LEASE_ENDED,
    Evidence,
    Exit,
    FinalState,
    Kill,
    Post,
    Sent,
    UncertainSend,
    Way,
    Webhooks,
    Window,
)

A, B = "106540352242922", "106540352242923"
BOTH = frozenset({"sent", "delivered"})


def post(key: str, at_s: float, **other: Any) -> Post:
    """A POST that was accepted, if `other` says nothing else."""
    given = {"claim": 1, "number": A, "outcome": "accepted", "status": 200, "wamid": f"wamid.{key}", **other}
    return Post(key=key, at_s=at_s, **given)


def unanswered(key: str, at_s: float, **other: Any) -> Post:
    return post(key, at_s, **{"outcome": "hang_before", "status": None, "wamid": None, **other})


def throttled(key: str, at_s: float, **other: Any) -> Post:
    return post(key, at_s, **{"outcome": "throttle", "status": 400, "wamid": None, **other})


def delivered(key: str) -> FinalState:
    return FinalState("delivered", wamid=f"wamid.{key}")


def good() -> Evidence:
    """Worker 1 dies at 12 s with two messages in flight, which the simulator took; number A waits 4 s.

    A receipt tells of `campaign-6` at once, of `campaign-3` after its lease. `campaign-5` was never taken: it is sent
    again once the receipt of `late_campaign-0` proves that.
    """
    sent = {
        "campaign-1": Sent("campaign-1", A, 10.0),
        "campaign-2": Sent("campaign-2", B, 10.0),
        "campaign-3": Sent("campaign-3", A, 10.0),
        "campaign-4": Sent("campaign-4", A, 10.0),
        "campaign-5": Sent("campaign-5", B, 10.0),
        "campaign-6": Sent("campaign-6", A, 10.0),
        "code-1": Sent("code-1", A, 11.0),
        "code-2": Sent("code-2", A, 13.0),
        "code-3": Sent("code-3", B, 13.0),
        "late_campaign-0": Sent("late_campaign-0", B, 19.5),
    }
    posts = (
        post("campaign-1", 10.1),
        throttled("campaign-2", 10.1, number=B),
        post("campaign-2", 10.9, number=B, claim=2),
        post("code-1", 11.01),
        post("campaign-6", 11.98),
        post("campaign-3", 11.99),
        post("code-3", 13.02, number=B),
        unanswered("campaign-5", 13.5, number=B),
        post("code-2", 16.0),
        post("campaign-4", 16.01),
        post("late_campaign-0", 19.51, number=B),
        post("campaign-5", 20.51, number=B, claim=2),
    )
    uncertain_sends = (
        UncertainSend("campaign-5", 18.5, "lost timeout", Way.ABSENCE, 20.5, 20.75),
        UncertainSend("campaign-3", 21.0, LEASE_ENDED, Way.RECEIPT, 21.25, 21.25),
    )
    return Evidence(
        sent=sent,
        states={key: delivered(key) for key in sent},
        uncertain_sends=uncertain_sends,
        receipts=dict.fromkeys(sent, BOTH),
        accepted_by_receipt=frozenset({"campaign-3", "campaign-6"}),
        posts=posts,
        windows={A: Window(80, 4, 0), B: Window(80, 3, 0)},
        overlapping=0,
        webhooks=Webhooks(12, 1, 0, 0, {"sent": 10, "delivered": 10}, 5.0),
        kill=Kill(12.0, "worker-1", (A,), {"campaign-3": 1, "campaign-6": 1}),
        exits=(Exit("worker-2", 0, 0.1), Exit("api", 0, 0.2)),
        seconds=22.0,
    )


def with_posts(*more: Post) -> Evidence:
    """The good run, and more POSTs."""
    run = good()
    return replace(run, posts=tuple(sorted((*run.posts, *more), key=lambda found: found.at_s)))


def with_state(key: str, state: FinalState | None) -> Evidence:
    """The good run, but for how one message stands."""
    run = good()
    states = {**run.states, key: state}
    return replace(run, states={key: state for key, state in states.items() if state is not None})


def with_uncertain_send(key: str, **other: Any) -> Evidence:
    """The good run, but for how one uncertain send was resolved."""
    run = good()
    return replace(
        run, uncertain_sends=tuple(replace(send, **other) if send.key == key else send for send in run.uncertain_sends)
    )


def with_receipts(key: str, statuses: Iterable[str]) -> Evidence:
    """The good run, but for which statuses Redis knows of one message."""
    run = good()
    return replace(run, receipts={**run.receipts, key: frozenset(statuses)})

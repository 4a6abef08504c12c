"""A small run in which everything went well, to be spoilt by tests."""

from dataclasses import replace
from typing import Any

from dispatcher.demo.evidence import LEASE_ENDED, Evidence, Exit, Fate, Kill, Post, Sent, Window

A, B = "106540352242922", "106540352242923"


def post(key: str, at_s: float, **other: Any) -> Post:
    """A POST that was accepted, if `other` says nothing else."""
    given = {"claim": 1, "number": A, "outcome": "accepted", "status": 200, "wamid": f"wamid.{key}", **other}
    return Post(key=key, at_s=at_s, **given)


def unanswered(key: str, at_s: float, **other: Any) -> Post:
    return post(key, at_s, **{"outcome": "hang_before", "status": None, "wamid": None, **other})


def throttled(key: str, at_s: float, **other: Any) -> Post:
    return post(key, at_s, **{"outcome": "throttle", "status": 400, "wamid": None, **other})


def accepted(key: str) -> Fate:
    return Fate("accepted", wamid=f"wamid.{key}")


def good() -> Evidence:
    """Worker 1 dies at 12 s with `campaign-3` in flight, which the simulator took; number A waits 4 s."""
    sent = {
        "campaign-1": Sent("campaign-1", A, 10.0),
        "campaign-2": Sent("campaign-2", B, 10.0),
        "campaign-3": Sent("campaign-3", A, 10.0),
        "campaign-4": Sent("campaign-4", A, 10.0),
        "campaign-5": Sent("campaign-5", B, 10.0),
        "code-1": Sent("code-1", A, 11.0),
        "code-2": Sent("code-2", A, 13.0),
        "code-3": Sent("code-3", B, 13.0),
    }
    posts = (
        post("campaign-1", 10.1),
        throttled("campaign-2", 10.1, number=B),
        post("campaign-2", 10.9, number=B, claim=2),
        post("code-1", 11.01),
        post("campaign-3", 11.99),
        post("code-3", 13.02, number=B),
        unanswered("campaign-5", 13.5, number=B),
        post("code-2", 16.0),
        post("campaign-4", 16.01),
    )
    fates = {key: accepted(key) for key in sent}
    fates["campaign-3"] = Fate("uncertain", error=LEASE_ENDED)
    fates["campaign-5"] = Fate("uncertain", error="lost timeout")
    return Evidence(
        sent=sent,
        fates=fates,
        uncertain_at_s={"campaign-5": 18.5, "campaign-3": 21.0},
        posts=posts,
        windows={A: Window(80, 4, 0), B: Window(80, 3, 0)},
        overlapping=0,
        kill=Kill(12.0, "worker-1", (A,), {"campaign-3": 1}),
        exits=(Exit("worker-2", 0, 0.1),),
        seconds=22.0,
    )


def with_posts(*more: Post) -> Evidence:
    """The good run, and more POSTs."""
    run = good()
    return replace(run, posts=tuple(sorted((*run.posts, *more), key=lambda found: found.at_s)))


def with_fate(key: str, fate: Fate | None) -> Evidence:
    """The good run, but for how one message stands."""
    run = good()
    fates = {**run.fates, key: fate}
    return replace(run, fates={key: fate for key, fate in fates.items() if fate is not None})

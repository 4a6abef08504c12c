"""Every broken promise is found, and named."""

from dataclasses import replace

import pytest

from dispatcher.lab import judge
from dispatcher.lab.evidence import (
    LEASE_ENDED,
    Evidence,
    Exit,
    FinalState,
    Kill,
    Sent,
    UncertainSend,
    Way,
    Webhooks,
    Window,
)
from tests.lab.runs import A, B, good, post, unanswered, with_posts, with_receipts, with_state, with_uncertain_send


def broken(evidence: Evidence) -> dict[str, tuple[str, ...]]:
    return {promise.name: promise.broken for promise in judge.judge(evidence) if not promise.is_held}


def test_a_good_run_breaks_nothing() -> None:
    assert broken(good()) == {}
    assert len(judge.judge(good())) == 8


def never_taken(state: FinalState | None) -> Evidence:
    """The good run, but that `campaign-5` was never posted again, and stands so."""
    run = with_state("campaign-5", state)
    return replace(
        run,
        posts=tuple(found for found in run.posts if found.at_s != 20.51),
        receipts={key: found for key, found in run.receipts.items() if key != "campaign-5"},
        webhooks=replace(run.webhooks, statuses={"sent": 9, "delivered": 9}),
    )


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (None, "unknown"),
        (FinalState("queued", "rate"), "queued rate"),
        (FinalState("sending"), "sending"),
    ],
)
def test_a_message_that_is_neither_settled_nor_uncertain_with_a_reason_is_lost(
    state: FinalState | None, said: str
) -> None:
    run = never_taken(state)
    assert broken(run) == {"P1 accounted for": (f"lost or still waiting at the end: campaign-5 ({said})",)}
    assert judge.lost_keys(run) == ["campaign-5"]


def test_a_message_that_is_uncertain_without_a_reason_is_lost() -> None:
    assert broken(with_state("campaign-5", FinalState("uncertain"))) == {
        "P1 accounted for": ("lost or still waiting at the end: campaign-5 (uncertain)",),
        "all resolved": ("uncertain at the end: campaign-5",),
    }


def test_a_message_that_is_settled_otherwise_is_accounted_for() -> None:
    assert broken(never_taken(FinalState("dead", "exhausted", "130429"))) == {}


@pytest.mark.parametrize("wamid", ["", "wamid.another"])
def test_an_acceptance_that_the_simulator_knows_nothing_of_is_found(wamid: str) -> None:
    run = with_state("campaign-1", FinalState("delivered", wamid=wamid))
    assert broken(run) == {"P1 accounted for": ("accepted in Redis, but not by the simulator: campaign-1",)}


def test_an_acceptance_that_redis_knows_nothing_of_is_found() -> None:
    run = with_state("campaign-1", FinalState("dead", "rejected", "100"))
    assert broken(run) == {"P1 accounted for": ("accepted by the simulator, but Redis says otherwise: campaign-1",)}


def test_a_message_that_is_accepted_twice_breaks_more_than_one_promise() -> None:
    run = with_posts(post("campaign-3", 21.1, claim=2, wamid="wamid.again"))
    assert broken(run) == {
        "P2 once": ("accepted twice: campaign-3", "posted after it was accepted: campaign-3 (claim 2)"),
        "P3 no blind resend": ("posted again while uncertain: campaign-3",),
    }
    assert judge.doubled_keys(run) == ["campaign-3"]


def test_a_post_after_acceptance_is_found_though_it_is_not_accepted_again() -> None:
    run = with_posts(post("campaign-1", 11.0, claim=2, outcome="over_limit", status=400, wamid=None))
    assert broken(run) == {"P2 once": ("posted after it was accepted: campaign-1 (claim 2)",)}


def test_what_was_sent_again_on_wrong_proof_is_found() -> None:
    taken = {"outcome": "hang_after", "wamid": "wamid.first"}
    posts = tuple(replace(found, **taken) if found.at_s == 13.5 else found for found in good().posts)  # type: ignore[arg-type]  # both are texts
    assert broken(replace(good(), posts=posts)) == {
        "P2 once": ("accepted twice: campaign-5", "posted after it was accepted: campaign-5 (claim 2)")
    }


@pytest.mark.parametrize("claim", [1, 0])
def test_a_claim_that_is_posted_twice_is_found(claim: int) -> None:
    run = with_posts(post("campaign-2", 10.5, number=B, claim=claim, outcome="throttle", status=400, wamid=None))
    assert broken(run) == {"P2 once": (f"posted under a claim that was not new: campaign-2 (claim {claim})",)}


def test_two_posts_of_a_key_at_once_are_found() -> None:
    run = replace(good(), overlapping=2)
    assert broken(run) == {"P2 once": ("in two POSTs at the same time: 2 keys",)}


def test_each_post_after_one_without_an_answer_needs_a_proof_of_its_own() -> None:
    run = with_posts(unanswered("campaign-5", 17.0, number=B, claim=2))
    run = replace(run, posts=tuple(replace(p, claim=3) if p.at_s == 20.51 else p for p in run.posts))
    assert broken(run) == {"P3 no blind resend": ("posted again after no answer, without proof: campaign-5",)}
    again = UncertainSend("campaign-5", 16.5, "lost reset", Way.ABSENCE, 16.9, 18.5)
    assert broken(replace(run, uncertain_sends=(again, *run.uncertain_sends))) == {}


def test_what_was_sent_again_without_proof_is_found() -> None:
    assert broken(with_uncertain_send("campaign-5", way=Way.UNPROVEN)) == {
        "P3 no blind resend": (
            "posted again after no answer, without proof: campaign-5",
            "sent again without proof: campaign-5",
        )
    }


def test_a_post_of_what_was_seen_to_be_uncertain_is_found_though_it_never_left_before() -> None:
    uncertain_sends = (*good().uncertain_sends, UncertainSend("campaign-4", 15.5, LEASE_ENDED, Way.ABSENCE, 16.5, 16.6))
    run = replace(good(), uncertain_sends=uncertain_sends)
    assert broken(run) == {"P3 no blind resend": ("posted again while uncertain: campaign-4",)}


def test_clocks_that_are_a_hair_off_break_nothing() -> None:
    # Redis tells whole ms: a reset 0.2 ms after the POST may read as before it
    uncertain_sends = (
        *good().uncertain_sends,
        UncertainSend("campaign-4", 16.008, "lost reset", Way.RECEIPT, 16.2, 16.2),
    )
    assert broken(replace(good(), uncertain_sends=uncertain_sends)) == {}


def test_what_is_uncertain_at_the_end_is_found() -> None:
    left = {"way": Way.OPEN, "decided_at_s": None, "ended_at_s": None}
    run = with_uncertain_send("campaign-3", **left)
    assert broken(run) == {"all resolved": ("uncertain at the end: campaign-3",)}
    run = with_state("campaign-3", FinalState("uncertain", error=LEASE_ENDED))
    assert broken(run) == {"all resolved": ("uncertain at the end: campaign-3",)}


def test_what_was_sent_again_and_came_to_nothing_is_found() -> None:
    run = with_uncertain_send("campaign-5", ended_at_s=None)
    assert broken(run) == {"all resolved": ("sent again, and not settled since: campaign-5",)}


def test_what_is_held_for_a_person_is_resolved_but_not_if_it_was_accepted() -> None:
    run = with_uncertain_send("campaign-3", way=Way.HELD)
    run = replace(run, states={**run.states, "campaign-3": FinalState("dead", "held", "no receipt of a later message")})
    assert broken(run) == {"P1 accounted for": ("accepted by the simulator, but Redis says otherwise: campaign-3",)}


def test_a_status_that_never_arrived_is_found() -> None:
    assert broken(with_receipts("campaign-1", {"sent"})) == {
        "states agree": (
            "a status never arrived: campaign-1",
            "receipts in Redis, and statuses sent: delivered 9 of 10",
        )
    }


def test_a_status_that_is_lost_by_setting_is_not_missed() -> None:
    run = with_receipts("campaign-1", {"sent"})
    lossy = replace(run.webhooks, statuses={"sent": 10, "delivered": 9}, lost=frozenset({"delivered"}))
    assert broken(replace(run, webhooks=lossy)) == {}


def test_a_state_behind_its_receipts_is_found() -> None:
    run = with_state("campaign-1", FinalState("sent", wamid="wamid.campaign-1"))
    assert broken(run) == {"states agree": ("the state is behind its receipts: campaign-1 (sent)",)}


def test_a_message_that_was_read_is_so_in_redis() -> None:
    run = with_receipts("campaign-1", {"sent", "delivered", "read"})
    run = replace(run, webhooks=replace(run.webhooks, statuses={"sent": 10, "delivered": 10, "read": 1}))
    assert broken(run) == {"states agree": ("the state is behind its receipts: campaign-1 (delivered)",)}
    states = {**run.states, "campaign-1": FinalState("read", wamid="wamid.campaign-1")}
    assert broken(replace(run, states=states)) == {}


def test_a_receipt_of_what_was_not_accepted_is_found() -> None:
    assert broken(with_receipts("campaign-9", {"sent"})) == {
        "states agree": (
            "a receipt of what was not accepted: campaign-9",
            "receipts in Redis, and statuses sent: sent 11 of 10",
        )
    }


def test_webhooks_that_were_not_delivered_are_found() -> None:
    run = replace(good(), webhooks=Webhooks(12, 1, 3, 2, {"sent": 10, "delivered": 10}))
    assert broken(run) == {"states agree": ("updates that were not delivered: 2",)}


def test_a_window_above_the_rate_is_found() -> None:
    run = replace(good(), windows={A: Window(80.5, 81, 0), B: Window(80, 80, 0)})
    assert broken(run) == {"P4 rate": (f"too much in a second: {A}: 81 where 80.5 is the limit",)}


def test_what_is_refused_for_the_rate_is_found() -> None:
    run = replace(good(), windows={A: Window(80, 80, 3), B: Window(80, 80, 0)})
    assert broken(run) == {"P4 rate": (f"refused for the rate: {A}: 3",)}


def test_a_worker_that_does_not_end_well_is_found() -> None:
    exits = (Exit("worker-2", None, 10.0), Exit("worker-3", 1, 0.1), Exit("worker-4", 0, 0.1))
    assert broken(replace(good(), exits=exits)) == {
        "P6 clean stop": ("had to be killed: worker-2", "ended badly: worker-3 (code 1)")
    }


def test_a_number_that_is_served_again_too_late_is_found() -> None:
    run = good()
    late = tuple(replace(found, at_s=found.at_s + 6.5) if found.at_s >= 16 else found for found in run.posts)
    assert broken(replace(run, posts=late)) == {"P7 fast recovery": (f"late: {A} after 10.5 s",)}


def test_a_number_that_is_never_served_again_is_found() -> None:
    run = good()
    none = tuple(found for found in run.posts if found.at_s < 16)
    assert broken(replace(run, posts=none))["P7 fast recovery"] == (f"never served again: {A}",)


def test_a_number_counts_as_waiting_from_its_first_message_after_the_kill() -> None:
    run = good()
    sent = {**run.sent, "campaign-4": Sent("campaign-4", A, 14.0)}
    assert judge.served_again_s(replace(run, sent=sent)) == {A: 3.0}
    idle = replace(run, kill=Kill(17.0, "worker-1", (A,), {}))
    assert judge.served_again_s(idle) == {}


def test_the_last_words_of_the_dead_are_no_service() -> None:
    run = good()
    late = post("campaign-3", 12.005)
    posts = tuple(late if found.key == "campaign-3" else found for found in run.posts)
    assert judge.served_again_s(replace(run, posts=posts)) == {A: 4.0}


def test_what_got_an_answer_after_the_kill_was_not_in_the_hands_of_the_dead() -> None:
    run = good()
    sending = {"campaign-3": 1, "campaign-4": 1, "campaign-5": 1, "campaign-6": 1, "campaign-9": 1}
    found = judge.killed_keys(replace(run, kill=replace(run.kill, sending=sending)))
    assert found == ["campaign-3", "campaign-6", "campaign-9"]


def test_a_receipt_of_what_a_living_worker_found_uncertain_is_no_sign_of_the_dead() -> None:
    run = with_uncertain_send("campaign-3", error="lost reset")
    assert judge.killed_keys(run) == ["campaign-6"]


def test_only_some_of_many_are_named() -> None:
    run = replace(good(), states={})
    assert broken(run)["P1 accounted for"] == (
        "lost or still waiting at the end: campaign-1 (unknown), campaign-2 (unknown), campaign-3 (unknown) and 7 more",
    )

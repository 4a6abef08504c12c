"""Every broken promise is found, and named."""

from dataclasses import replace

import pytest

from dispatcher.demo import verdict
from dispatcher.demo.evidence import Evidence, Exit, Fate, Kill, Sent, Window
from tests.demo.runs import A, B, good, post, unanswered, with_fate, with_posts


def broken(evidence: Evidence) -> dict[str, tuple[str, ...]]:
    return {promise.name: promise.broken for promise in verdict.judge(evidence) if not promise.is_held}


def test_a_good_run_breaks_nothing() -> None:
    assert broken(good()) == {}
    assert len(verdict.judge(good())) == 6


@pytest.mark.parametrize(
    ("fate", "said"),
    [
        (None, "unknown"),
        (Fate("queued", "rate"), "queued rate"),
        (Fate("sending"), "sending"),
        (Fate("uncertain"), "uncertain"),
    ],
)
def test_a_message_that_is_neither_settled_nor_uncertain_with_a_reason_is_lost(fate: Fate | None, said: str) -> None:
    run = with_fate("campaign-5", fate)
    assert broken(run) == {"P1 accounted for": (f"lost or still waiting at the end: campaign-5 ({said})",)}
    assert verdict.lost_keys(run) == ["campaign-5"]


def test_a_message_that_is_settled_otherwise_is_accounted_for() -> None:
    assert broken(with_fate("campaign-5", Fate("dead", "exhausted", "130429"))) == {}


@pytest.mark.parametrize("wamid", ["", "wamid.another"])
def test_an_acceptance_that_the_simulator_knows_nothing_of_is_found(wamid: str) -> None:
    run = with_fate("campaign-1", Fate("accepted", wamid=wamid))
    assert broken(run) == {"P1 accounted for": ("accepted in Redis, but not by the simulator: campaign-1",)}


def test_an_acceptance_that_redis_knows_nothing_of_is_found() -> None:
    run = with_fate("campaign-1", Fate("dead", "rejected", "100"))
    assert broken(run) == {"P1 accounted for": ("accepted by the simulator, but Redis says otherwise: campaign-1",)}


def test_a_message_that_is_accepted_twice_breaks_more_than_one_promise() -> None:
    run = with_posts(post("campaign-3", 22.0, claim=2, wamid="wamid.again"))
    assert broken(run) == {
        "P2 once": ("accepted twice: campaign-3", "posted after it was accepted: campaign-3"),
        "P3 no blind resend": ("posted again while uncertain: campaign-3",),
    }
    assert verdict.doubled_keys(run) == ["campaign-3"]


def test_a_post_after_acceptance_is_found_though_it_is_not_accepted_again() -> None:
    run = with_posts(post("campaign-1", 11.0, claim=2, outcome="over_limit", status=400, wamid=None))
    assert broken(run) == {"P2 once": ("posted after it was accepted: campaign-1",)}


def test_two_posts_of_a_key_at_once_are_found() -> None:
    run = replace(good(), overlapping=2)
    assert broken(run) == {"P2 once": ("in two POSTs at the same time: 2 keys",)}


def test_a_post_after_one_without_an_answer_is_found() -> None:
    run = with_posts(unanswered("campaign-5", 17.0, number=B, claim=2))
    assert broken(run) == {"P3 no blind resend": ("posted again after no answer: campaign-5",)}


def test_a_post_of_what_was_seen_to_be_uncertain_is_found_though_it_never_left_before() -> None:
    run = good()
    sent = {**run.sent, "campaign-6": Sent("campaign-6", A, 10.0)}
    run = replace(
        run,
        sent=sent,
        fates={**run.fates, "campaign-6": Fate("accepted", wamid="wamid.campaign-6")},
        uncertain_at_s={**run.uncertain_at_s, "campaign-6": 21.0},
        kill=replace(run.kill, sending={**run.kill.sending, "campaign-6": 1}),
        posts=(*run.posts, post("campaign-6", 21.5, claim=2)),
    )
    assert broken(run) == {"P3 no blind resend": ("posted again while uncertain: campaign-6",)}


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
    assert verdict.served_again_s(replace(run, sent=sent)) == {A: 3.0}
    idle = replace(run, kill=Kill(17.0, "worker-1", (A,), {}))
    assert verdict.served_again_s(idle) == {}


def test_the_last_words_of_the_dead_are_no_service() -> None:
    run = good()
    late = post("campaign-3", 12.005)
    posts = tuple(late if found.key == "campaign-3" else found for found in run.posts)
    assert verdict.served_again_s(replace(run, posts=posts)) == {A: 4.0}


def test_what_got_an_answer_after_the_kill_was_not_in_the_hands_of_the_dead() -> None:
    run = good()
    sending = {"campaign-3": 1, "campaign-4": 1, "campaign-5": 1, "campaign-9": 1}
    assert verdict.killed_keys(replace(run, kill=replace(run.kill, sending=sending))) == ["campaign-3", "campaign-9"]


def test_only_some_of_many_are_named() -> None:
    run = replace(good(), fates={})
    assert broken(run)["P1 accounted for"] == (
        "lost or still waiting at the end: campaign-1 (unknown), campaign-2 (unknown), campaign-3 (unknown) and 5 more",
    )

"""The figures of a run, worked out by hand."""

from dataclasses import replace

import pytest

from dispatcher.lab import figures
from dispatcher.lab.evidence import FinalState, Way
from dispatcher.lab.figures import KillFigures, Resolved, Totals, Waits, WayFigures, resolution
from tests.lab.runs import A, B, good, post, with_posts, with_state, with_uncertain_send


def test_totals_add_up() -> None:
    assert figures.totals(good()) == Totals(
        sent=10,
        codes=3,
        late=1,
        accepted=10,
        receipts={"sent": 10, "delivered": 10, "read": 0},
        uncertain=0,
        other={},
        lost=0,
        duplicates=0,
        posts=12,
        refused=0,
        throttled=1,
        unanswered=1,
    )


def test_other_ends_are_counted_by_state() -> None:
    assert figures.totals(with_state("code-1", FinalState("expired"))).other == {"expired": 1}


def test_a_wait_is_from_the_enqueue_to_the_first_post() -> None:
    waits = figures.waits(good())
    assert {name: rounded(lane) for name, lane in waits.items()} == {
        "urgent": Waits(3, 0.02, 3.0, 3.0),
        "urgent_undisturbed": Waits(1, 0.01, 0.01, 0.01),
        "bulk": Waits(7, 1.98, 6.01, 6.01),
    }


def rounded(waits: Waits) -> Waits:
    return Waits(waits.count, *(round(value, 6) for value in (waits.p50_s, waits.p99_s, waits.most_s)))


def test_a_clock_that_is_a_hair_off_makes_no_wait_below_zero() -> None:
    assert figures.waits(replace(good(), posts=(post("code-1", 10.9999),)))["urgent"].most_s == 0


def test_a_number_pauses_while_its_gate_is_closed_and_while_its_worker_is_dead() -> None:
    assert figures.pauses_of(good(), A) == [(12.0, 16.0)]
    # the first POST after the closing only tries the gate
    assert figures.pauses_of(good(), B) == [(10.1, 13.02)]


def test_the_use_of_the_rate_leaves_out_what_was_not_to_be_had() -> None:
    more = [post(f"campaign-1{place:02d}", 10.2 + place / 80) for place in range(80)]
    (number, _) = figures.numbers(with_posts(*more))
    assert (number.number, number.posts, number.accepted, number.paused_s) == (A, 86, 86, 4.0)
    assert number.used == pytest.approx(85 / 5.91 / 80)
    assert number.used_open == pytest.approx(84 / 1.91 / 80)


def test_a_time_too_short_to_tell_has_no_use_of_the_rate() -> None:
    run = good()
    (number,) = figures.numbers(replace(run, posts=run.posts[:1], windows={A: run.windows[A]}))
    assert (number.used, number.used_open) == (None, None)


def test_what_was_in_flight_at_the_kill_is_followed() -> None:
    assert figures.killed(good()) == KillFigures(in_flight=2, told=1, uncertain=1, sent_again=0, accepted=2, lost=0)
    again = figures.killed(with_posts(post("campaign-3", 22.0, claim=2)))
    assert again.sent_again == 1
    assert figures.killed(with_state("campaign-3", None)) == KillFigures(2, 1, 1, 0, 1, 1)


def test_what_is_sent_again_long_after_the_rest_is_no_use_of_the_rate() -> None:
    *_, number = figures.numbers(good())
    assert number.number == B
    assert number.used == pytest.approx(1 / (13.5 - 10.1) / 80)


def test_each_uncertain_send_is_told_with_its_way_and_times() -> None:
    found = resolution(good())
    assert (found.sends, found.messages, found.early) == (2, 2, 1)
    assert found.by_reason == {"lost timeout": 1, "lease ended": 1}
    assert found.by_way["absence"] == WayFigures(1, 1, 2.0, 2.0, 2.25, 2.25)
    assert found.by_way["receipt"] == WayFigures(1, 1, 0.25, 0.25, 0.25, 0.25)
    assert found.by_way["unproven"] == found.by_way["held"] == found.by_way["open"] == WayFigures(0, 0, 0, 0, 0, 0)
    assert found.each == (
        Resolved("campaign-5", "lost timeout", "absence", "delivered", "", 2.0, 2.25),
        Resolved("campaign-3", "lease ended", "receipt", "delivered", "", 0.25, 0.25),
    )


def test_what_is_open_still_has_no_time() -> None:
    found = resolution(with_uncertain_send("campaign-3", way=Way.OPEN, decided_at_s=None, ended_at_s=None))
    assert found.by_way["open"] == WayFigures(1, 1, 0, 0, 0, 0)
    assert found.each[1] == Resolved("campaign-3", "lease ended", "open", "delivered", "", None, None)


@pytest.mark.parametrize(("percent", "value"), [(1, 1), (50, 5), (99, 10), (100, 10)])
def test_a_percentile_is_a_value_that_was_seen(percent: float, value: float) -> None:
    assert figures.percentile(list(range(10, 0, -1)), percent) == value
    assert figures.percentile([], percent) == 0

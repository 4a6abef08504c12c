"""The figures of a run, worked out by hand."""

from dataclasses import replace

import pytest

from dispatcher.demo import figures
from dispatcher.demo.evidence import Fate
from dispatcher.demo.figures import KillFigures, Totals, Waits
from tests.demo.runs import A, B, good, post, with_fate, with_posts


def test_totals_add_up() -> None:
    assert figures.totals(good()) == Totals(
        sent=8,
        codes=3,
        accepted=6,
        uncertain=2,
        uncertain_taken=1,
        uncertain_by_reason={"lease ended": 1, "lost timeout": 1},
        other={},
        lost=0,
        duplicates=0,
        posts=9,
        refused=0,
        throttled=1,
        unanswered=1,
    )


def test_other_ends_are_counted_by_state() -> None:
    assert figures.totals(with_fate("code-1", Fate("expired"))).other == {"expired": 1}


def test_a_wait_is_from_the_enqueue_to_the_first_post() -> None:
    waits = figures.waits(good())
    assert {name: rounded(lane) for name, lane in waits.items()} == {
        "urgent": Waits(3, 0.02, 3.0, 3.0),
        "urgent_undisturbed": Waits(1, 0.01, 0.01, 0.01),
        "bulk": Waits(5, 1.99, 6.01, 6.01),
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
    assert (number.number, number.posts, number.accepted, number.paused_s) == (A, 85, 85, 4.0)
    assert number.used == pytest.approx(84 / 5.91 / 80)
    assert number.used_open == pytest.approx(83 / 1.91 / 80)


def test_a_time_too_short_to_tell_has_no_use_of_the_rate() -> None:
    run = good()
    (number,) = figures.numbers(replace(run, posts=run.posts[:1], windows={A: run.windows[A]}))
    assert (number.used, number.used_open) == (None, None)


def test_what_was_in_flight_at_the_kill_is_followed() -> None:
    assert figures.killed(good()) == KillFigures(
        in_flight=1, accepted=0, uncertain=1, uncertain_taken=1, posted_again=0, lost=0
    )
    again = figures.killed(with_posts(post("campaign-3", 22.0, claim=2)))
    assert again.posted_again == 1
    assert figures.killed(with_fate("campaign-3", None)) == KillFigures(1, 0, 0, 0, 0, 1)


@pytest.mark.parametrize(("percent", "value"), [(1, 1), (50, 5), (99, 10), (100, 10)])
def test_a_percentile_is_a_value_that_was_seen(percent: float, value: float) -> None:
    assert figures.percentile(list(range(10, 0, -1)), percent) == value
    assert figures.percentile([], percent) == 0

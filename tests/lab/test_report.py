"""What people and programs are told."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from dispatcher import errors
from dispatcher.lab import Options, report
from dispatcher.lab.evidence import Evidence, Way
from dispatcher.lab.processes import clean_environment
from tests.lab.runs import A, B, good, with_uncertain_send


def told(run: Evidence, width: int = 200) -> str:
    out = io.StringIO()
    report.tell(report.summary(run), Console(file=out, width=width), {A: "demo-1", B: "demo-2"})
    return out.getvalue()


def test_a_good_run_ends_in_ticks() -> None:
    text = told(good())
    assert text.count("✓") == 8
    assert "✗" not in text
    assert text.endswith("all promises held in 22.0 s\n")


def row(text: str, name: str) -> list[str]:
    return next(line for line in text.splitlines() if line.strip().startswith(name)).split()


def test_each_way_of_resolving_is_told_with_its_times() -> None:
    text = told(good())
    assert "2 uncertain sends, and how they were resolved" in text
    assert row(text, "accepted, says a receipt")[4:] == ["1", "250", "ms", "250", "ms"]
    assert "1    2.0 s    2.0 s   1 accepted then, after 2.2 s at most" in text
    assert row(text, "sent again without proof")[-1] == row(text, "held for a person")[-1] == "0"
    assert "uncertain still" not in text
    assert row(text, "delivered") == ["delivered", "10"]


def test_what_is_held_is_told_with_the_proof_that_was_missing() -> None:
    text = told(with_uncertain_send("campaign-5", way=Way.HELD, why="webhook door had a gap"))
    assert row(text, "held for a person")[4:] == ["1", "2.0", "s", "2.0", "s", "webhook", "door", "had", "a", "gap"]


def test_what_is_uncertain_still_is_told() -> None:
    text = told(with_uncertain_send("campaign-3", way=Way.OPEN, decided_at_s=None, ended_at_s=None))
    assert row(text, "uncertain still")[2] == "1"


def test_a_broken_promise_is_told_with_what_broke_it_and_what_the_workers_said() -> None:
    text = told(replace(good(), overlapping=1, troubles=('worker-2: {"level": "error"}',)))
    assert text.count("✗") == 1
    assert "in two POSTs at the same time: 1 keys" in text
    assert 'worker-2: {"level": "error"}' in text
    assert text.endswith("1 promises broken in 22.0 s\n")


def test_nothing_is_cut_off_on_a_narrow_terminal() -> None:
    assert "…" not in told(good(), width=80)


def test_json_says_the_same_in_one_object() -> None:
    found = json.loads(report.as_json(report.summary(good()), Options(messages=5, numbers=2)))
    assert found["ok"] is True
    assert found["size"] == {"messages": 5, "numbers": 2, "rate": 80, "workers": 2}
    assert found["messages"]["receipts"] == {"sent": 10, "delivered": 10, "read": 0}
    uncertain = found["uncertain"]
    assert (uncertain["sends"], uncertain["early"]) == (2, 1)
    assert uncertain["by_reason"] == {"lease ended": 1, "lost timeout": 1}
    assert uncertain["by_way"]["absence"] == {
        "count": 1,
        "accepted": 1,
        "p50_s": 2.0,
        "most_s": 2.0,
        "settled_p50_s": 2.25,
        "settled_most_s": 2.25,
        "missing": [],
    }
    assert [one["way"] for one in uncertain["each"]] == ["absence", "receipt"]
    assert found["times"]["uncertain_window_s"] == 2
    assert found["webhooks"] == {
        "made": 12,
        "sent_twice": 1,
        "not_200": 0,
        "not_delivered": 0,
        "statuses": {"sent": 10, "delivered": 10},
        "slowest_answer_ms": 5.0,
    }
    assert found["killed"] == {
        "worker": "worker-1",
        "in_flight": 2,
        "told": 1,
        "uncertain": 1,
        "sent_again": 0,
        "accepted": 2,
        "lost": 0,
        "served_again_s": {A: 4.0},
    }
    assert found["stopped"] == {"worker-2": {"code": 0, "took_s": 0.1}, "api": {"code": 0, "took_s": 0.2}}
    assert all(promise["held"] for promise in found["promises"].values())


def test_sizes_that_make_no_sense_are_refused_at_once() -> None:
    with pytest.raises(errors.SettingsError) as caught:
        Options(messages=0, numbers=101, rate=0.5, workers=17)
    assert len(caught.value.problems) == 4


def test_the_developers_settings_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPATCHER_CELL", "production")
    monkeypatch.setenv("dispatcher_cell", "production")
    monkeypatch.setenv("OTHER", "stays")
    environ = clean_environment({"REDIS_URL": "redis://localhost"})
    ours = {name: value for name, value in environ.items() if name.upper().startswith("DISPATCHER_")}
    assert ours == {"DISPATCHER_REDIS_URL": "redis://localhost"}
    assert environ["OTHER"] == "stays"


def test_the_default_size_is_given_up_after_little_more_than_a_minute() -> None:
    assert Options(server=Path("/a/server")).limit_s < 70

"""What people and programs are told."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from dispatcher import errors
from dispatcher.demo import Options, report
from dispatcher.demo.evidence import Evidence
from dispatcher.demo.parts import clean_environment
from tests.demo.runs import A, B, good


def told(run: Evidence, width: int = 200) -> str:
    out = io.StringIO()
    report.tell(report.summary(run), Console(file=out, width=width), {A: "demo-1", B: "demo-2"})
    return out.getvalue()


def test_a_good_run_ends_in_ticks() -> None:
    text = told(good())
    assert text.count("✓") == 6
    assert "✗" not in text
    assert text.endswith("all promises held in 22.0 s\n")


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
    assert found["messages"]["uncertain_by_reason"] == {"lease ended": 1, "lost timeout": 1}
    assert found["killed"] == {
        "worker": "worker-1",
        "in_flight": 1,
        "accepted": 0,
        "uncertain": 1,
        "uncertain_taken": 1,
        "posted_again": 0,
        "lost": 0,
        "served_again_s": {A: 4.0},
    }
    assert found["stopped"] == {"worker-2": {"code": 0, "took_s": 0.1}}
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


def test_the_default_size_ends_within_a_minute() -> None:
    assert Options(server=Path("/a/server")).limit_s < 50

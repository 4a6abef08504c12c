"""The demo as a whole, small: it holds its promises, and leaves nothing behind however it ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dispatcher import errors
from dispatcher.lab import Options, run
from tests.servers import PATIENCE_S, wait_until

pytestmark = pytest.mark.crash

TIMED = {"P4 rate", "P6 clean stop", "P7 fast recovery"}
"""Promises with seconds in them, which no machine keeps that is busy enough; that the demo judges them is in test_judge."""
SMALL = (
    "import sys; from pathlib import Path; from dispatcher.lab import Options, run; "
    "sys.exit(run(Options(messages=400, numbers=2, server=Path(sys.argv[1]) if sys.argv[1] else None)))"
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go, to see that none is left."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return tmp_path


@pytest.fixture
def watched(folder: Path, server_path: Path | None) -> Iterator["subprocess.Popen[str]"]:
    """A demo as a process of its own, which has begun to send."""
    command = [sys.executable, "-c", SMALL, str(server_path or "")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            while "queueing a campaign" not in (line := process.stdout.readline()):
                assert line, "it ended before it had begun"
            yield process
        finally:
            process.kill()


def children_of(pid: int) -> set[int]:
    with subprocess.Popen(["ps", "-A", "-o", "pid=,ppid="], stdout=subprocess.PIPE, text=True) as ps:
        assert ps.stdout is not None
        rows = [row.split() for row in ps.stdout]
    return {int(child) for child, parent in rows if int(parent) == pid} - {ps.pid}


def wait_until_gone(pids: set[int]) -> None:
    wait_until(lambda: not any(is_alive(pid) for pid in pids))


def is_alive(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def test_a_small_demo_holds_its_promises_and_leaves_nothing_behind(
    capsys: pytest.CaptureFixture[str], folder: Path, server_path: Path | None
) -> None:
    before = children_of(os.getpid())
    code = run(Patient(messages=150, numbers=2, workers=2, server=server_path, json=True))
    told = json.loads(capsys.readouterr().out)
    broken = {name for name, promise in told["promises"].items() if not promise["held"]}
    assert broken <= TIMED, told["promises"]
    assert (code, told["ok"]) == (bool(broken), not broken)
    messages, killed = told["messages"], told["killed"]
    assert messages["sent"] == 150 + messages["codes"] + messages["late"] == messages["accepted"]
    assert (messages["uncertain"], messages["lost"], messages["duplicates"], messages["refused"]) == (0, 0, 0, 0)
    assert messages["codes"] > 0
    receipts, webhooks = messages["receipts"], told["webhooks"]
    assert receipts == webhooks["statuses"]
    assert receipts["sent"] == receipts["delivered"] == messages["accepted"] > receipts["read"] > 0
    assert (webhooks["not_200"], webhooks["not_delivered"]) == (0, 0)
    uncertain = told["uncertain"]
    assert uncertain["sends"] == len(uncertain["each"]) >= killed["uncertain"]
    assert {one["way"] for one in uncertain["each"]} <= {"receipt", "absence"}
    assert all(one["state"] in {"delivered", "read"} and one["settled_s"] > 0 for one in uncertain["each"])
    assert killed["in_flight"] == killed["told"] + killed["uncertain"] == killed["accepted"] > 0
    assert killed["lost"] == 0
    assert None not in killed["served_again_s"].values()
    assert [stop["code"] for stop in told["stopped"].values()] == [0, 0] or "P6 clean stop" in broken
    assert told["errors_logged"] == 0
    assert set(told["numbers"]) == {"106540352242922", "106540352242923"}
    assert told["enqueue_to_post"]["bulk"]["count"] >= 150 - killed["in_flight"]
    assert children_of(os.getpid()) <= before
    assert list(folder.iterdir()) == []


class Patient(Options):
    """A demo that waits for as long as a busy machine needs."""

    @property
    def limit_s(self) -> float:
        return PATIENCE_S


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_cleans_up(
    watched: "subprocess.Popen[str]", folder: Path, signal_number: signal.Signals
) -> None:
    parts = children_of(watched.pid)
    assert len(parts) >= 5
    watched.send_signal(signal_number)
    said, _ = watched.communicate(timeout=PATIENCE_S)
    assert watched.returncode == 130
    assert said.splitlines()[-1] == "interrupted; everything that was started has ended"
    wait_until_gone(parts)
    assert list(folder.iterdir()) == []


def test_a_killed_demo_takes_its_parts_along(watched: "subprocess.Popen[str]", folder: Path) -> None:
    parts = children_of(watched.pid)
    watched.kill()
    watched.wait()
    wait_until_gone(parts)
    wait_until(lambda: not list(folder.iterdir()))


def test_a_server_that_is_none_is_said_at_once(folder: Path) -> None:
    with pytest.raises(errors.SettingsError):
        run(Options(server=Path("/nowhere/redis-server")))
    assert list(folder.iterdir()) == []


def test_a_demo_that_cannot_be_run_says_so_in_json(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    code = run(Options(server=Path(sys.executable), json=True))
    told = json.loads(capsys.readouterr().out)
    assert (code, told["ok"]) == (1, False)
    assert told["error"].startswith("the demo could not be run: ")
    assert list(folder.iterdir()) == []

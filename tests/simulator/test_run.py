"""The simulator as a process, and its place in the package."""

import ast
import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import dispatcher.simulator
from dispatcher.simulator.limits import window_size
from tests.servers import PATIENCE_S
from tests.simulator.wire import PATH, headers, text_to

COMMAND = [sys.executable, "-m", "dispatcher", "simulator"]


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_says_where_it_listens_and_leaves_its_report(tmp_path: Path, signal_number: int) -> None:
    report = tmp_path / "ledger.json"
    flags = ["--token", "T", "--rate", "0.001", "--latency-ms", "5", "--limit-status", "429", "--ledger", str(report)]
    with subprocess.Popen([*COMMAND, *flags], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said, _, url = process.stdout.readline().strip().rpartition(" ")
        assert said == "listening on"
        with httpx.Client(base_url=url, headers=headers("T"), trust_env=False, timeout=PATIENCE_S) as client:
            statuses = [client.post(PATH, json=text_to(key=str(place))).status_code for place in range(3)]
        process.send_signal(signal_number)
        assert process.stdout.read() == ""
    assert process.returncode == 0
    assert statuses == [200, 429, 429]
    assert json.loads(report.read_text())["by_status"] == {"200": 1, "429": 2}


def test_without_a_file_the_report_goes_to_standard_output() -> None:
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        assert json.loads(process.stdout.read())["requests"] == 0


def test_a_report_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    command = [*COMMAND, "--ledger", str(tmp_path / "nowhere" / "ledger.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.terminate()
        said = process.stderr.read()
    assert process.returncode == 1
    assert "--ledger: " in said
    assert "--port" not in said


def test_the_simulator_shares_no_code_with_what_it_judges() -> None:
    """Nor does it take a name from the package itself, which the import linter's contract would let pass."""
    allowed = sys.stdlib_module_names | {"httptools", "pyreqwest", "uvloop"}
    foreign = set()
    for path in Path(str(dispatcher.simulator.__file__)).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or "."]
            foreign |= {
                name
                for name in names
                if name.split(".")[0] not in allowed and not f"{name}.".startswith("dispatcher.simulator.")
            }
    assert foreign == set()


def test_the_largest_rate_is_no_limit_in_practice() -> None:
    assert window_size(100_000) == (100_000, 1_000_000_000)

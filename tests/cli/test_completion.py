"""Shell completion, as the shells ask for it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("dispatcher")
# So that a shell can be named, instead of looking for the one that runs the tests.
NAMED_SHELL = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}


def completed(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    environ = {**os.environ, **environ}
    done = subprocess.run([COMMAND, *arguments], capture_output=True, text=True, env=environ, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("dispatcher st", ["status", "stops"]),
        ("dispatcher numbers re", ["resume"]),
        ("dispatcher send --pri", ["--priority"]),
        ("dispatcher send --priority ", ["urgent", "normal", "bulk"]),
    ],
)
def test_bash_is_offered_what_fits(typed: str, offered: list[str]) -> None:
    words = str(len(typed.split(" ")) - 1)
    done = completed(_DISPATCHER_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=words)
    assert done.stdout.split() == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "pwsh"])
def test_the_script_of_a_shell_is_shown(shell: str) -> None:
    said = completed("--show-completion", shell, **NAMED_SHELL).stdout
    assert all(
        part in said
        for part in ("dispatcher", "_DISPATCHER_COMPLETE", f"complete_{shell.replace('pwsh', 'powershell')}")
    )


def test_completion_is_installed_for_the_user(tmp_path: Path) -> None:
    completed("--install-completion", "bash", HOME=str(tmp_path), **NAMED_SHELL)
    assert "dispatcher" in (tmp_path / ".bashrc").read_text()
    assert list((tmp_path / ".bash_completions").iterdir()) == [tmp_path / ".bash_completions" / "dispatcher.sh"]

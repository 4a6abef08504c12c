"""What is in the wheel, and what its pinned requirements say."""

import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.package.conftest import ROOT, Client

CACHES = {"__pycache__", ".ruff_cache"}


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """Lua files go missing unseen where only the tree is tested."""
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "dispatcher").rglob("*")
        if path.is_file() and not CACHES & set(path.parts)
    }
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert found == package
    assert {"dispatcher/py.typed", "dispatcher/store/lua/queue/enqueue.lua"} < found


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: str(path.name))
def test_requirements_are_pinned_with_hashes_and_name_no_registry(path: Path) -> None:
    text = path.read_text()
    pins = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert pins
    assert all("==" in line and line.endswith("\\") for line in pins)
    assert "://" not in text
    assert "index" not in "".join(line for line in text.splitlines() if line.startswith("-"))


def test_the_command_of_a_bare_install_says_which_extra_to_install(clients: Mapping[str, Client]) -> None:
    command = next(iter(clients.values())).python.with_name("dispatcher")
    done = subprocess.run([command, "send"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        "dispatcher: `dispatcher send` needs more than the base install (typer is missing): "
        "pip install 'whatsapp-dispatcher[cli]'\n",
    )

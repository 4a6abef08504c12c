"""Prometheus's own opinion of its configuration, together with the rules that compose.yaml mounts beside it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.papers import DEPLOY, ROOT


@pytest.mark.prometheus
def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("there is no promtool; Debian has it in the package prometheus")
    shutil.copy(DEPLOY / "prometheus.yaml", tmp_path)
    shutil.copytree(ROOT / "grafana" / "rules", tmp_path / "rules")
    done = subprocess.run(
        [promtool, "check", "config", tmp_path / "prometheus.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout

import shutil

import pytest

from tests.grafana.server import Tools


@pytest.fixture(scope="session")
def tools() -> Tools:
    """Prometheus and promtool; where they are missing, tests are left out, which `tests/conftest.py` reports."""
    prometheus, promtool = shutil.which("prometheus"), shutil.which("promtool")
    if prometheus is None or promtool is None:
        pytest.skip("prometheus or promtool is missing: apt-get install prometheus")
    return Tools(prometheus, promtool)

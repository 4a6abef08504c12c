"""Alerts say what they mean and where to read on, and each is proven to fire and to be silent."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.grafana.files import FOLDER, ROOT, RULE_TESTS, RULES, alerts, chosen, dashboard, panels, rule_tests
from tests.grafana.server import Tools

RUNBOOKS = (ROOT / "docs" / "runbooks.md").read_text()
LINK = "{{ $externalLabels.docs }}docs/runbooks.md#"
every_alert = pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])


def sections() -> dict[str, str]:
    """The runbook of each alert, by the anchor that GitHub and others give its heading."""
    parts = re.split(r"^### (\w+)$", RUNBOOKS, flags=re.MULTILINE)[1:]
    return {name.lower(): text.partition("\n## ")[0] for name, text in zip(parts[::2], parts[1::2], strict=True)}


@every_alert
def test_an_alert_has_severity_summary_and_a_runbook(alert: dict[str, dict[str, str]]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["annotations"]["summary"].endswith(".")
    assert alert["annotations"]["runbook_url"] == f"{LINK}{str(alert['alert']).lower()}"
    section = sections()[str(alert["alert"]).lower()]
    assert all(word in section for word in ("**It means**", "**Look at**"))
    assert re.search(r"\*\*[Tt]ype\*\*", section)


def test_there_is_a_runbook_for_alerts_alone() -> None:
    assert set(sections()) == {alert["alert"].lower() for alert in alerts()}
    linked = set(re.findall(r"\]\(#(\w+)\)", RUNBOOKS))
    assert linked <= set(sections())


def test_runbooks_name_panels_that_exist() -> None:
    boards = [dashboard(path) for path in sorted((FOLDER / "dashboards").glob("*.json"))]
    titles = {panel["title"] for board in boards for panel in panels(board)}
    named = {found for section in sections().values() for found in re.findall(r'"([A-Z][^"]+)"', section)}
    assert named
    assert named <= titles
    short = {board["title"].removeprefix("dispatcher: ") for board in boards}
    assert set(re.findall(r"\*([a-z][a-z ]+[a-zA-Z ]*)\*", RUNBOOKS)) - {"italics"} <= short | {"type"}


@every_alert
def test_an_alert_is_tested_silent_and_firing(alert: dict[str, str]) -> None:
    tried = [one for test in rule_tests() for one in test["alert_rule_test"] if one["alertname"] == alert["alert"]]
    assert any(one["exp_alerts"] for one in tried)
    assert not all(one["exp_alerts"] for one in tried)


@pytest.mark.prometheus
def test_promtool_takes_the_rules_and_the_example(tools: Tools) -> None:
    check(tools, "check", "rules", *map(str, RULES))
    check(tools, "check", "config", str(FOLDER / "prometheus.example.yaml"))


@pytest.mark.prometheus
@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_promtool_proves_the_rules(tools: Tools, path: Path) -> None:
    check(tools, "test", "rules", str(path))


@pytest.mark.prometheus
def test_promtool_notices_a_wrong_rule_test(tools: Tools, tmp_path: Path) -> None:
    text = (FOLDER / "rules" / "tests" / "delivery.yaml").read_text()
    wrong = text.replace("../", f"{FOLDER}/rules/").replace("has waited for 20s", "has waited for 21s")
    (tmp_path / "wrong.yaml").write_text(wrong)
    ended = subprocess.run(
        [tools.promtool, "test", "rules", str(tmp_path / "wrong.yaml")], capture_output=True, check=False
    )
    assert ended.returncode == 1


def check(tools: Tools, *arguments: str) -> None:
    ended = subprocess.run([tools.promtool, *arguments], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_expressions_have_no_variable_left() -> None:
    assert all("$" not in chosen(alert["expr"]) for alert in alerts())

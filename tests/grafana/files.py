"""What is in `grafana/`, as the tests want to have it: dashboards, their queries, rules, and the metrics in them."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "grafana"
RULES = (FOLDER / "rules" / "recording.yaml", FOLDER / "rules" / "alerts.yaml")
RULE_TESTS = tuple(sorted((FOLDER / "rules" / "tests").glob("*.yaml")))
DASHBOARDS = tuple(sorted((FOLDER / "dashboards").glob("*.json")))

CHOSEN = {
    "cell": ".*",
    "number": ".*",
    "campaign": ".*",
    "__rate_interval": "15s",
    "__range": "5m",
}
"""What Grafana would put in the place of variables."""
_RECORDED = re.compile(r"\b[a-z0-9_]+:[a-zA-Z0-9_:]+")
_METRIC = re.compile(r"\b(?:dispatcher|process)_[a-z_]+\b")
_SERIES_OF_HISTOGRAM = re.compile(r"_seconds_(?:bucket|count|sum)$")


@dataclass(frozen=True)
class Asked:
    """One expression of a dashboard, and where it stands."""

    where: str
    expr: str


def dashboard(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(path.read_text())
    return read


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """All but headings."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def chosen(expr: str) -> str:
    """Put values in the place of variables, as Grafana does."""
    return re.sub(r"\$(\w+)", lambda found: CHOSEN[found[1]], expr)


def queries() -> list[Asked]:
    """Every expression of every panel and annotation, with values in the place of variables."""
    found = []
    for path in DASHBOARDS:
        board = dashboard(path)
        for panel in panels(board):
            found += [
                Asked(f"{path.stem} / {panel['title']} / {target['refId']}", chosen(target["expr"]))
                for target in panel["targets"]
            ]
        found += [
            Asked(f"{path.stem} / mark {mark['name']}", chosen(mark["expr"])) for mark in board["annotations"]["list"]
        ]
    return found


def rules() -> list[dict[str, Any]]:
    """Recording rules and alerts."""
    read = [yaml.safe_load(path.read_text()) for path in RULES]
    return [rule for groups in read for group in groups["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def records() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "record" in rule]


def rule_tests() -> list[dict[str, Any]]:
    """What is proven with promtool."""
    return [test for path in RULE_TESTS for test in yaml.safe_load(path.read_text())["tests"]]


def metrics(expr: str) -> set[str]:
    """The metrics in an expression, by the names that `docs/metrics.md` has for them."""
    return {_SERIES_OF_HISTOGRAM.sub("_seconds", name) for name in _METRIC.findall(_RECORDED.sub("", expr))}


def recorded(expr: str) -> set[str]:
    """The recorded series in an expression."""
    return set(_RECORDED.findall(expr))


def documented() -> set[str]:
    """The metrics of the code, as `docs/metrics.md` lists them; another test compares that with the code."""
    text = (ROOT / "docs" / "metrics.md").read_text()
    return {line.split("`")[1] for line in text.splitlines() if line.startswith("| `dispatcher_")}

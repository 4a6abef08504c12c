"""Rules, queries, configurations and rule tests, checked as far as that goes without a Prometheus.

Tests marked `prometheus` ask promtool and a Prometheus the same and more; these run everywhere.
"""

import re
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml

from tests.grafana.files import (
    DASHBOARDS,
    FOLDER,
    ROOT,
    RULE_TESTS,
    RULES,
    Asked,
    alerts,
    chosen,
    dashboard,
    queries,
    records,
    rules,
)
from tests.grafana.promql import TARGET, known, read

EXAMPLE = FOLDER / "prometheus.example.yaml"
DEPLOYED = ROOT / "deploy" / "prometheus.yaml"
IN_RULES = {"record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations"}
IN_CONFIGURATIONS = {"global", "rule_files", "scrape_configs", "alerting", "remote_write", "storage"}
IN_JOBS = {"job_name", "static_configs", "dns_sd_configs", "relabel_configs", "scrape_interval", "metrics_path"}
IN_TESTS = {"name", "interval", "input_series", "alert_rule_test", "promql_expr_test", "external_labels"}
every_alert = pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def is_duration(text: object) -> bool:
    return isinstance(text, str) and bool(re.fullmatch(r"(\d+(ms|[smhdwy]))+", text))


# rules and queries


@pytest.mark.parametrize("path", RULES, ids=lambda path: path.stem)
def test_rule_files_have_the_shape_that_prometheus_reads(path: Path) -> None:
    found = read_yaml(path)
    assert set(found) == {"groups"}
    for group in found["groups"]:
        assert {"name", "rules"} <= set(group) <= {"name", "rules", "interval", "limit", "labels"}
        assert is_duration(group.get("interval", "1m"))
        for rule in group["rules"]:
            assert set(rule) <= IN_RULES
            assert ("alert" in rule) != ("record" in rule)
            assert all(is_duration(rule[name]) for name in ("for", "keep_firing_for") if name in rule)
            assert "for" not in rule or "alert" in rule
            texts = [*rule.get("labels", {}).values(), *rule.get("annotations", {}).values(), rule["expr"]]
            assert all(isinstance(text, str) for text in texts)


def test_groups_alerts_and_records_have_names_of_their_own() -> None:
    groups = [group["name"] for path in RULES for group in read_yaml(path)["groups"]]
    names = [rule.get("alert") or rule["record"] for rule in rules()]
    assert len(set(groups)) == len(groups)
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", name) for name in names)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_each_rule_asks_for_what_is_served(rule: dict[str, Any]) -> None:
    assert read(rule["expr"]).problems == []


@pytest.mark.parametrize("asked", queries(), ids=lambda asked: asked.where)
def test_each_query_of_the_dashboards_asks_for_what_is_served(asked: Asked) -> None:
    assert read(asked.expr).problems == []


def test_what_fills_the_choices_of_dashboards_is_served() -> None:
    found = []
    for path in DASHBOARDS:
        for variable in dashboard(path)["templating"]["list"]:
            if variable["type"] != "query":
                continue
            query = chosen(variable["query"]["query"])
            if labels := re.fullmatch(r"label_values\((\w+)({.*})?, (\w+)\)", query):
                query = f'{labels[1]}{{{labels[3]}!=""}}'
            found += read(query.removeprefix("query_result")).problems
    assert found == []


@pytest.mark.parametrize("rule", records(), ids=lambda rule: rule["record"])
def test_what_is_recorded_is_by_cell(rule: dict[str, Any]) -> None:
    assert read(rule["expr"]).labels == {"cell"}


@every_alert
def test_what_an_alert_says_of_labels_comes_out_of_its_expression(alert: dict[str, Any]) -> None:
    said = " ".join(alert["annotations"].values())
    assert set(re.findall(r"\$labels\.(\w+)", said)) <= read(alert["expr"]).labels


WRONG = {
    "sum by (cell (dispatcher_numbers)": "is no PromQL",
    "dispatcher_nmbers": "dispatcher_nmbers is served by nobody",
    'dispatcher_queue_waiting{lan="bulk"}': "dispatcher_queue_waiting has no label lan",
    'dispatcher_queue_waiting{lane=~"bulk|slow"}': "lane of dispatcher_queue_waiting is never slow",
    'dispatcher_number_gate{state="closed"}': "state of dispatcher_number_gate is never closed",
    "sum by (number) (dispatcher_cell_waiting)": "groups by number, which nothing in it has",
    "rate(dispatcher_queue_waiting[5m])": "rate of dispatcher_queue_waiting, which is a gauge",
    "delta(dispatcher_claims_total[5m])": "delta of dispatcher_claims_total, which is a counter",
    "dispatcher_queue_waiting and on (number) dispatcher_numbers": "matches on number, which the right side has not",
    "histogram_quantile(0.9, sum by (cell) (rate(dispatcher_post_seconds_bucket[5m])))": "takes a quantile of what has no le",
    "dispatcher_post_seconds": "dispatcher_post_seconds is served by nobody",
    "cell:dispatcher_undelivered:ratio_rate2m": "cell:dispatcher_undelivered:ratio_rate2m is served by nobody",
    '{lane="bulk"}': "asks for series without a name",
}


@pytest.mark.parametrize(("text", "problem"), WRONG.items())
def test_the_check_of_expressions_finds_what_is_wrong(text: str, problem: str) -> None:
    (found,) = read(text).problems
    assert found.startswith(problem)


# configurations


@pytest.mark.parametrize("path", [EXAMPLE, DEPLOYED], ids=["example", "deployed"])
def test_a_configuration_has_the_shape_that_prometheus_reads(path: Path) -> None:
    found = read_yaml(path)
    assert set(found) <= IN_CONFIGURATIONS
    assert all(is_duration(found["global"][name]) for name in ("scrape_interval", "evaluation_interval"))
    assert found["global"]["external_labels"]["docs"].endswith("/")
    jobs = [job["job_name"] for job in found["scrape_configs"]]
    assert sorted(jobs) == ["dispatcher-api", "dispatcher-exporter", "dispatcher-worker"]
    for job in found["scrape_configs"]:
        assert set(job) <= IN_JOBS
        for static in job.get("static_configs", ()):
            assert all(re.fullmatch(r"[\w.-]+:\d+", target) for target in static["targets"])
        for dns in job.get("dns_sd_configs", ()):
            assert is_duration(dns["refresh_interval"])
            assert 0 < dns["port"] < 65_536


def test_the_rule_files_of_the_configurations_exist() -> None:
    """compose.yaml mounts the rules beside the deployed one."""
    assert [EXAMPLE.parent / name for name in read_yaml(EXAMPLE)["rule_files"]] == list(RULES)
    assert read_yaml(DEPLOYED)["rule_files"] == ["rules/*.yaml"]
    assert set((FOLDER / "rules").glob("*.yaml")) == set(RULES)


# what promtool is given to prove


def problems_of(tests: dict[str, Any], folder: Path) -> list[str]:
    """What cannot be right about a file of rule tests; whether an alert fires is promtool's to say."""
    found = [f"{name} is not there" for name in tests["rule_files"] if not (folder / name).exists()]
    for test in tests["tests"]:
        found += [f"{name} is no part of a test" for name in set(test) - IN_TESTS]
        found += [problem for series in test["input_series"] for problem in _series_problems(series)]
        for fires in test.get("alert_rule_test", ()):
            found += _alert_problems(fires)
        for asked in test.get("promql_expr_test", ()):
            found += read(asked["expr"]).problems
    return found


def _series_problems(series: dict[str, Any]) -> list[str]:
    found = read(series["series"]).problems
    words = str(series["values"]).split()
    wrong = [word for word in words if not re.fullmatch(r"(_|[+-]?(Inf|NaN|[\d.]+(e\d+)?)([+-][\d.]+)?)(x\d+)?", word)]
    return [*found, *(f"{word} is no value" for word in wrong)]


def _alert_problems(fires: dict[str, Any]) -> list[str]:
    by_name = {alert["alert"]: alert for alert in alerts()}
    name = fires["alertname"]
    if name not in by_name:
        return [f"there is no alert {name}"]
    found = [] if is_duration(fires["eval_time"]) else [f"{fires['eval_time']} is no time"]
    alert = by_name[name]
    for expected in fires["exp_alerts"]:
        own, out = alert["labels"], read(alert["expr"]).labels
        given = expected.get("exp_labels", {})
        found += [f"{name} is {own[label]}" for label in own if given.get(label) != own[label]]
        found += [f"{name} has no label {label}" for label in set(given) - set(own) - out]
        for kind, text in expected.get("exp_annotations", {}).items():
            pattern = re.sub(r"(\\\{){2}.*?(\\\}){2}", ".*", re.escape(alert["annotations"][kind]))
            found += [] if re.fullmatch(pattern, text) else [f"{name} never says {text!r}"]
    return found


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_rule_tests_are_about_rules_and_series_that_exist(path: Path) -> None:
    assert problems_of(read_yaml(path), path.parent) == []


@pytest.mark.parametrize(
    ("right", "wrong", "problem"),
    [
        ("alertname: DispatcherBacklogStuck", "alertname: DispatcherStuck", "there is no alert DispatcherStuck"),
        ("dispatcher_queue_waiting{", "dispatcher_queue_wait{", "dispatcher_queue_wait is served by nobody"),
        ('lane="urgent"', 'lane="soon"', "lane of dispatcher_queue_oldest_runnable_seconds is never soon"),
        ("severity: critical, cell: main", "severity: warning, cell: main", "DispatcherBacklogStuck is critical"),
        ("has waited for 20s", "waits for 20s", "DispatcherUrgentTooOld never says"),
        ("../alerts.yaml", "../alarms.yaml", "../alarms.yaml is not there"),
        ("values: '0+60x20'", "values: '0+60 x20'", "x20 is no value"),
    ],
)
def test_the_check_of_rule_tests_finds_what_is_wrong(right: str, wrong: str, problem: str) -> None:
    path = FOLDER / "rules" / "tests" / "delivery.yaml"
    text = path.read_text()
    assert right in text
    found = problems_of(yaml.safe_load(text.replace(right, wrong)), path.parent)
    assert any(one.startswith(problem) for one in found), found


# that the checks know what is served


def test_the_series_that_are_known_are_those_of_the_pages() -> None:
    assert known()["dispatcher_post_seconds_bucket"].labels == {*TARGET, "outcome", "le"}
    assert known()["dispatcher_queue_waiting"].labels == {*TARGET, "number", "lane"}
    assert "dispatcher_post_seconds" not in known()
    assert isinstance(promql.parse("up"), promql.VectorSelector)

"""The dashboards are what `make grafana` writes, what Grafana's schema allows, and whole."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.boards import BOARDS
from grafana.build import files
from tests.grafana.files import DASHBOARDS, FOLDER, chosen, dashboard, panels
from tests.grafana.schema import problems

UIDS = {
    "dispatcher-overview",
    "dispatcher-number",
    "dispatcher-campaigns",
    "dispatcher-receipts",
    "dispatcher-workers",
}
"""They are parts of addresses that people keep: nothing may be taken away from here."""
# Of Grafana's list (packages/grafana-data, valueFormats/categories.ts), those that we use.
UNITS = {"short", "none", "s", "bytes", "percentunit", "reqps", "cps"}
every_dashboard = pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)


def test_the_committed_dashboards_are_what_the_code_makes() -> None:
    committed = {path: path.read_text() for path in DASHBOARDS}
    assert committed == files(), "run `make grafana`, and commit what it writes"


def test_uids_and_titles_stay() -> None:
    boards = [dashboard(path) for path in DASHBOARDS]
    assert {board["uid"] for board in boards} == UIDS
    assert len({board["title"] for board in boards}) == len(boards) == len(BOARDS)
    assert [path.stem for path in DASHBOARDS] == sorted(board["uid"] for board in boards)


@every_dashboard
def test_a_dashboard_is_as_grafanas_schema_wants_it(path: Path) -> None:
    assert problems(dashboard(path)) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("title", 5), ("titel", "x"), ("gridPos", {"x": 0, "y": 0, "w": "12", "h": 8}), ("repeatDirection", "x")],
)
def test_the_check_of_the_schema_finds_what_is_wrong(name: str, value: Any) -> None:
    board = copy.deepcopy(dashboard(DASHBOARDS[0]))
    board["panels"][1][name] = value
    assert problems(board)


def test_the_check_of_the_schema_looks_into_options_and_fields() -> None:
    board = copy.deepcopy(dashboard(DASHBOARDS[0]))
    graph = next(panel for panel in board["panels"] if panel["type"] == "timeseries")
    graph["options"]["legend"]["placement"] = "nowhere"
    graph["fieldConfig"]["defaults"]["custom"]["lineWidth"] = "1"
    graph["targets"][0]["instant"] = "no"
    assert len(problems(board)) == 3


@every_dashboard
def test_every_panel_says_what_it_shows_in_which_unit_and_from_where(path: Path) -> None:
    board = dashboard(path)
    assert board["description"]
    for panel in panels(board):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert {source["uid"] for source in sources} == {"${datasource}"}, panel["title"]
        assert panel["targets"], panel["title"]


@every_dashboard
def test_ids_titles_and_places_of_panels_are_their_own(path: Path) -> None:
    board = dashboard(path)
    ids = [panel["id"] for panel in board["panels"]]
    assert sorted(set(ids)) == sorted(ids)
    titles = [panel["title"] for panel in board["panels"] if panel["type"] != "row"]
    assert len(set(titles)) == len(titles)
    taken = [cell for panel in board["panels"] for cell in cells(panel["gridPos"])]
    assert len(set(taken)) == len(taken), "panels overlap"
    assert len(taken) == 24 * len({y for _, y in taken}), "there are gaps"
    assert max(x for x, _ in taken) == 23


def cells(place: dict[str, int]) -> list[tuple[int, int]]:
    columns, rows = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
    return [(x, y) for x in columns for y in rows]


@every_dashboard
def test_variables_are_set_up_and_known(path: Path) -> None:
    board = dashboard(path)
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    assert variables["cell"]["allValue"] == ".*", "a Prometheus without the label cell must work"
    used = set(re.findall(r"\$\{?(\w+)", path.read_text())) - {"__url_time_range", "__data", "__all"}
    assert used <= set(variables) | {"__rate_interval", "__range"}
    assert all("$" not in chosen(target["expr"]) for panel in panels(board) for target in panel["targets"])


@every_dashboard
def test_links_lead_to_dashboards_that_exist(path: Path) -> None:
    board = dashboard(path)
    linked = set(re.findall(r'"/d/([a-z-]+)\?', path.read_text()))
    assert linked <= UIDS - {board["uid"]}
    assert [link["tags"] for link in board["links"]] == [["dispatcher"]]
    assert board["tags"] == ["dispatcher"]


def test_the_overview_leads_down_to_all_others() -> None:
    text = (FOLDER / "dashboards" / "dispatcher-overview.json").read_text()
    assert set(re.findall(r'"/d/([a-z-]+)\?', text)) == UIDS - {"dispatcher-overview"}


@every_dashboard
def test_deploys_and_stops_are_marked(path: Path) -> None:
    marks = dashboard(path)["annotations"]["list"]
    assert {"Deploys", "Stops"} <= {mark["name"] for mark in marks}
    assert all(mark["enable"] and mark["titleFormat"] and mark["textFormat"] for mark in marks)


def test_the_provisioning_finds_a_source_and_a_folder() -> None:
    (source,) = yaml.safe_load((FOLDER / "provisioning/datasources/prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((FOLDER / "provisioning/dashboards/dispatcher.yaml").read_text())["providers"]
    assert (source["type"], source["access"], source["url"]) == ("prometheus", "proxy", "${PROMETHEUS_URL}")
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)
    assert provider["options"]["path"] == "/var/lib/grafana/dashboards/dispatcher"

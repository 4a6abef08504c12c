"""A Prometheus scrapes real processes under traffic: what we ask of it has answers."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from dispatcher.simulator import SimulatedNumber, Simulator, SimulatorSettings
from tests.cell import OTP, SHOP, TOKEN, UNPACED, Cell, eventually
from tests.cell import cell as open_cell
from tests.crash.workers import PATIENT
from tests.grafana import running
from tests.grafana.files import (
    DASHBOARDS,
    Asked,
    alerts,
    chosen,
    dashboard,
    metrics,
    queries,
    records,
    rule_tests,
)
from tests.grafana.server import Prometheus, Refused, Tools, scraping
from tests.servers import PATIENCE_S, OwnServer

pytestmark = pytest.mark.prometheus

RATE = 60.0
ENOUGH_S = 2 * PATIENCE_S  # a quiet machine needs 15


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    numbers = {number: SimulatedNumber(token=TOKEN, rate=UNPACED) for number in (OTP, SHOP)}
    async with Simulator(SimulatorSettings(numbers=numbers, token="EAAGother", latency_ms=50)).serving() as started:
        yield started


@pytest.fixture
async def cell(own_server: OwnServer, simulator: Simulator, tmp_path: Path) -> AsyncIterator[Cell]:
    server = own_server(options={"appendonly": "yes", "maxmemory": "256mb", "maxmemory-policy": "noeviction"})
    async with open_cell(server.url, tmp_path, simulator, rate=RATE, **{**PATIENT, **running.settings()}) as opened:
        yield opened


@pytest.fixture
async def prometheus(cell: Cell, tools: Tools, tmp_path: Path) -> AsyncIterator[Prometheus]:
    async with contextlib.AsyncExitStack() as stack:
        url = await stack.enter_async_context(running.listener())
        jobs = await stack.enter_async_context(running.processes(cell, url))
        yield await stack.enter_async_context(scraping(tools, tmp_path, jobs))


async def test_every_query_and_rule_has_data_from_real_processes(prometheus: Prometheus, cell: Cell) -> None:
    async with running.traffic(cell):
        asked = [*queries(), *of_rules(), *of_variables()]
        proven = {test["expr"] for group in rule_tests() for test in group.get("promql_expr_test", ())}
        silent = await without_data(prometheus, [one for one in asked if one.expr not in proven])
        assert silent == {}
        await numbers_can_be_chosen_by_name(prometheus)
        await every_rule_is_healthy(prometheus)


def of_rules() -> list[Asked]:
    """What is recorded; and of alerts, which are silent by nature and proven by promtool, all they look at."""
    looked_at = {(alert["alert"], name) for alert in alerts() for name in metrics(alert["expr"])}
    return [
        *(Asked(f"rule {rule['record']}", rule["expr"]) for rule in records()),
        *(Asked(f"recorded {rule['record']}", rule["record"]) for rule in records()),
        *(
            Asked(f"alert {alert} / {name}", f'{{__name__=~"{name}(_count)?"}}')
            for alert, name in sorted(looked_at)
        ),
    ]  # fmt: skip


def of_variables() -> list[Asked]:
    """What fills the choices at the top of dashboards."""
    found = []
    for path in DASHBOARDS:
        for variable in dashboard(path)["templating"]["list"]:
            if variable["type"] != "query":
                continue
            query = chosen(variable["query"]["query"])
            if labels := re.fullmatch(r"label_values\((\w+)({.*})?, (\w+)\)", query):
                query = f'{labels[1]}{{{labels[3]}!=""}}'
            found.append(Asked(f"{path.stem} / choice {variable['name']}", query.removeprefix("query_result")))
    return found


async def without_data(prometheus: Prometheus, asked: list[Asked]) -> dict[str, str]:
    """Ask until all have answered; returns those that did not."""
    ends_at = time.monotonic() + ENOUGH_S
    left = {one.where: one.expr for one in asked}
    assert len(left) == len(asked)
    while left and time.monotonic() < ends_at:
        for where, expr in list(left.items()):
            try:
                if await prometheus.ask(expr):
                    del left[where]
            except Refused as exc:
                return {where: f"{expr}: {exc}"}
        await asyncio.sleep(1)
    return left


async def numbers_can_be_chosen_by_name(prometheus: Prometheus) -> None:
    """Grafana's `query_result` writes a series so, and takes text and value from it by the variable's expression."""
    (board,) = [dashboard(path) for path in DASHBOARDS if path.stem == "dispatcher-number"]
    (variable,) = [one for one in board["templating"]["list"] if one["name"] == "number"]
    pattern = variable["regex"].strip("/").replace("(?<", "(?P<")
    series = [found["metric"] for found in await prometheus.ask("dispatcher_number_info")]
    # Prometheus gives labels in the order of their names, the name of the metric first
    written = [", ".join(f'{name}="{value}"' for name, value in list(labels.items())[1:]) for labels in series]
    matched = [re.search(pattern, text) for text in written]
    assert {(one["text"], one["value"]) for one in matched if one} == {("otp", OTP), ("shop", SHOP)}


async def every_rule_is_healthy(prometheus: Prometheus) -> None:
    groups: list[dict[str, Any]] = (await prometheus.get("/api/v1/rules"))["groups"]
    sick = {rule["name"]: rule["lastError"] for group in groups for rule in group["rules"] if rule.get("lastError")}
    assert sick == {}
    assert {rule["name"] for group in groups for rule in group["rules"]} == {
        *(alert["alert"] for alert in alerts()),
        *(rule["record"] for rule in records()),
    }

    async def all_are_up() -> bool:
        targets = (await prometheus.get("/api/v1/targets?state=active"))["activeTargets"]
        return all(target["health"] == "up" for target in targets)

    await eventually(all_are_up)  # now and then a scrape of a busy machine takes longer than the second that it has

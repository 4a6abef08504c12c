"""What is marked on every graph: deploys and stops."""

from dataclasses import dataclass

from grafana.promql import OURS, of


@dataclass(frozen=True, slots=True)
class Mark:
    """An annotation: shown while its expression has a value above 0."""

    name: str
    color: str
    title: str
    text: str
    expr: str


_STOPS = f"max by (cell, scope_kind, action) ({of('dispatcher_stops')})"
_STOPS_BEFORE = f"max by (cell, scope_kind, action) ({of('dispatcher_stops')} offset 1m)"
_VERSIONS = f"count by (version) ({of('dispatcher_build_info')})"
_VERSIONS_BEFORE = f"count by (version) ({of('dispatcher_build_info')} offset 2m)"
_STARTED = f"(time() - {of('process_start_time_seconds', OURS)} < 60)"

MARKS = (
    Mark(
        "Deploys", "blue", "Version {{version}}", "Processes of this version began to run.",
        f"{_VERSIONS} unless {_VERSIONS_BEFORE}",
    ),
    Mark(
        "Starts", "light-blue", "{{job}} started", "{{instance}} began to run.",
        f"sum by (job, instance) {_STARTED}",
    ),
    Mark(
        "Stops", "orange", "Stop on a {{scope_kind}}", "A stop was added ({{action}}): see `dispatcher stops list`.",
        f"{_STOPS} > ({_STOPS_BEFORE} or 0 * {_STOPS})",
    ),
)  # fmt: skip

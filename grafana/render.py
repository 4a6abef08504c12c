"""Turns our boards into Grafana's dashboards, with the grafana-foundation-sdk. The only module that knows it."""

import json
import string
from typing import Any, Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as look
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.marks import MARKS, Mark
from grafana.panels import Board, Kind, Panel, Query, Row, Step, Variable

TAG: Final = "dispatcher"
SOURCE: Final = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
_CELL: Final = Variable("cell", "Cell", "label_values(dispatcher_exporter_up, cell)")
_KEPT: Final = "var-datasource=${datasource}&${cell:queryparam}&${__url_time_range}"

_Builder = timeseries.Panel | stat.Panel | table.Panel | statetimeline.Panel


def rendered(board: Board) -> str:
    """Return the dashboard as JSON, the same each time."""
    built: dict[str, Any] = json.loads(json.dumps(_dashboard(board).build(), cls=JSONEncoder))
    for place, panel in enumerate(built["panels"], start=1):
        panel["id"] = place
    for query, mark in zip(built["annotations"]["list"], MARKS, strict=True):
        # The data source reads these, the schema leaves them open and the SDK knows them not.
        query |= {"titleFormat": mark.title, "textFormat": mark.text, "step": "15s"}
    return json.dumps(built, indent=2, ensure_ascii=False) + "\n"


def _dashboard(board: Board) -> dashboard.Dashboard:
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.about)
        .tags([TAG])
        .time("now-3h", "now")
        .timezone("browser")
        .refresh("30s")
        .readonly()
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .link(_to_all())
    )
    for variable in (_CELL, *board.variables):
        made = made.with_variable(_variable(variable))
    for mark in MARKS:
        made = made.annotation(_annotation(mark))
    for row in board.rows:
        made = _with_row(made, row)
    return made


def _to_all() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("dispatcher")
        .type(model.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .icon("dashboard")
        .tooltip("All dashboards of the dispatcher")
        .include_vars(True)
        .keep_time(True)
    )


def _variable(variable: Variable) -> dashboard.QueryVariable:
    made = (
        dashboard.QueryVariable(variable.name)
        .label(variable.label)
        .datasource(SOURCE)
        .query({"query": variable.query, "refId": variable.name})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )
    if variable.regex:
        made = made.regex(variable.regex)
    if variable.has_all:
        # `.*` also takes series without the label: a Prometheus that serves one cell need not set it.
        all_of_them = model.VariableOption(selected=True, text="All", value="$__all")
        made = made.include_all(True).multi(True).all_value(".*").current(all_of_them)
    return made


def _annotation(mark: Mark) -> dashboard.AnnotationQuery:
    return dashboard.AnnotationQuery().name(mark.name).datasource(SOURCE).icon_color(mark.color).expr(mark.expr)


def _with_row(made: dashboard.Dashboard, row: Row) -> dashboard.Dashboard:
    made = made.with_row(dashboard.Row(row.title))
    for line in row.lines:
        for panel in line:
            made = made.with_panel(_panel(panel).span(24 // len(line)))
    return made


def _panel(panel: Panel) -> _Builder:
    made: _Builder
    match panel.kind:
        case Kind.GRAPH:
            made = _graph(panel)
        case Kind.STAT:
            made = _stat()
        case Kind.TABLE:
            made = _table(panel)
        case Kind.STATES:
            made = statetimeline.Panel().fill_opacity(80).show_value(look.VisibilityMode.NEVER)
    made.title(panel.title).description(panel.about).unit(panel.unit).datasource(SOURCE)
    made.height(panel.height)
    is_instant = panel.kind in {Kind.STAT, Kind.TABLE}
    for name, query in zip(string.ascii_uppercase, panel.queries, strict=False):
        made.with_target(_target(name, query, is_instant=is_instant, is_table=panel.kind is Kind.TABLE))
    if panel.steps:
        made.thresholds(_thresholds(panel.steps))
    if panel.down:
        made.links([dashboard.DashboardLink("More").url(f"/d/{panel.down}?{_KEPT}").tooltip("More of this")])
    return made


def _target(name: str, query: Query, *, is_instant: bool, is_table: bool) -> prometheus.Dataquery:
    made = prometheus.Dataquery().expr(query.expr).ref_id(name).datasource(SOURCE)
    made = made.instant() if is_instant else made.range()
    if is_table:
        made = made.format(PromQueryFormat.TABLE)
    return made.legend_format(query.legend) if query.legend else made


def _graph(panel: Panel) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        .line_width(1)
        .fill_opacity(10)
        .show_points(look.VisibilityMode.NEVER)
        .min(0)
        .legend(
            common.VizLegendOptions()
            .display_mode(look.LegendDisplayMode.LIST)
            .placement(look.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs([])
        )
        .tooltip(
            common.VizTooltipOptions().mode(look.TooltipDisplayMode.MULTI).sort(look.SortOrder.DESCENDING)
        )
    )  # fmt: skip
    if panel.is_stacked:
        made = made.fill_opacity(40).stacking(common.StackingConfig().mode(look.StackingMode.NORMAL))
    return made


def _stat() -> stat.Panel:
    latest = common.ReduceDataOptions().calcs(["lastNotNull"]).values(False)
    return stat.Panel().reduce_options(latest).graph_mode(look.BigValueGraphMode.NONE).no_value("none")


def _table(panel: Panel) -> table.Panel:
    order = {field: place for place, (field, _) in enumerate(panel.columns)}
    names = {field: name for field, name in panel.columns if field != name}
    made = table.Panel().show_header(True)
    if len(panel.queries) > 1:
        made = made.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    chosen = {"include": {"names": [field for field, _ in panel.columns]}}
    made = made.with_transformation(model.DataTransformerConfig(id_val="filterFieldsByName", options=chosen))
    if panel.opens:
        uid, variable, field = panel.opens
        one = dashboard.DashboardLink("Open").url(f"/d/{uid}?var-{variable}=${{__data.fields.{field}}}&{_KEPT}")
        made = made.data_links([one])
    organized = {"indexByName": order, "renameByName": names}
    return made.with_transformation(model.DataTransformerConfig(id_val="organize", options=organized))


def _thresholds(steps: tuple[Step, ...]) -> dashboard.ThresholdsConfig:
    first, *others = steps
    made = [model.Threshold(None, first.color), *(model.Threshold(step.value, step.color) for step in others)]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(made)

"""What our dashboards consist of, as plain values: boards, rows, panels and queries. How they look is in `render`."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The visualizations that we use, by the names of Grafana's plugins."""

    GRAPH = "timeseries"
    STAT = "stat"
    TABLE = "table"
    STATES = "state-timeline"


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, and what its series are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """From this value on a stat has this colour."""

    value: float
    color: str


BAD_ABOVE_0 = (Step(0, "green"), Step(1, "red"))
BAD_BELOW_1 = (Step(0, "red"), Step(1, "green"))


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel; `about` is for somebody who sees it for the first time."""

    kind: Kind
    title: str
    about: str
    unit: str
    queries: tuple[Query, ...]
    height: int
    steps: tuple[Step, ...] = ()
    down: str = ""
    """The uid of the dashboard that tells more."""
    is_stacked: bool = False
    columns: tuple[tuple[str, str], ...] = ()
    """Of a table: fields in their order, and what they are called; other fields are hidden."""
    opens: tuple[str, str, str] | None = None
    """Of a table: each line leads to the dashboard of this uid, with this variable set to this field."""


@dataclass(frozen=True, slots=True)
class Row:
    """Lines of panels under a heading; those of a line are equally wide."""

    title: str
    lines: Sequence[Sequence[Panel]]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top of a dashboard, filled from Prometheus; `regex` may tell what is shown from what is used."""

    name: str
    label: str
    query: str
    regex: str = ""
    has_all: bool = True


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard. Its uid is part of its address and never changes."""

    uid: str
    title: str
    about: str
    rows: Sequence[Row]
    variables: Sequence[Variable] = ()


def graph(title: str, about: str, unit: str, *queries: Query, down: str = "", is_stacked: bool = False) -> Panel:
    """Values over time."""
    return Panel(Kind.GRAPH, title, about, unit, queries, 8, down=down, is_stacked=is_stacked)


def stat(title: str, about: str, unit: str, expr: str, *, steps: tuple[Step, ...] = (), down: str = "") -> Panel:
    """One value, large."""
    return Panel(Kind.STAT, title, about, unit, (Query(expr),), 4, steps=steps, down=down)


def states(title: str, about: str, unit: str, *queries: Query) -> Panel:
    """What held when."""
    return Panel(Kind.STATES, title, about, unit, queries, 8)


def table(
    title: str, about: str, *exprs: str, columns: tuple[tuple[str, str], ...], opens: tuple[str, str, str] | None = None
) -> Panel:
    """The latest values, side by side; that of the first expression is the field `Value #A`, or `Value` if alone."""
    return Panel(Kind.TABLE, title, about, "short", tuple(map(Query, exprs)), 8, columns=columns, opens=opens)

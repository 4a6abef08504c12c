"""What can be said of PromQL without a Prometheus: that it is PromQL, asks of series that exist, and which labels come out.

No engine: values are never worked out. `labels_of` follows the labels through an expression, and notes in a `Query` what
cannot be right: series and labels that nobody serves, values that no label has, rates of gauges.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import promql_parser as promql

from tests.grafana.files import records
from tests.observe import docs

TARGET = frozenset({"cell", "job", "instance", "pod"})
"""What a scrape adds to every series; the example and the tests set `cell`, Kubernetes' service discovery `pod`."""
_OF_COUNTERS = {"rate", "irate", "increase", "resets"}
_OF_GAUGES = {"deriv", "delta", "idelta", "predict_linear", "changes"}
_PROCESS = (
    "cpu_seconds_total",
    "max_fds",
    "open_fds",
    "resident_memory_bytes",
    "start_time_seconds",
    "virtual_memory_bytes",
)
# Values that are listed in words or come from what is set up.
_OPEN = {"campaign", "code", "group", "host", "name", "number", "python", "version", "waba", *TARGET}


@dataclass(frozen=True)
class Series:
    """What is served under one name."""

    metric: str
    kind: str
    labels: frozenset[str]


@cache
def known() -> dict[str, Series]:
    """Every series by its name: of the code, as docs/metrics.md has it, of the client library, and what is recorded."""
    found = {f"process_{name}": Series(name, "counter" if "total" in name else "gauge", TARGET) for name in _PROCESS}
    found["up"] = Series("up", "gauge", TARGET)
    found["ALERTS"] = Series("ALERTS", "gauge", TARGET | {"alertname", "alertstate", "severity", "number"})
    for process in ("worker", "api", "exporter"):
        for row in docs.metrics(process):
            name, kind, labels = (cell.strip() for cell in row.split("|")[1:4])
            metric = name.strip("`")
            own = TARGET | docs.names(labels)
            if kind == "histogram":
                found[f"{metric}_bucket"] = Series(metric, "counter", own | {"le"})
                found |= dict.fromkeys((f"{metric}_sum", f"{metric}_count"), Series(metric, "counter", own))
            else:
                found[metric] = Series(metric, kind, own)
    return found


@dataclass
class Query:
    """One expression, and what cannot be right about it."""

    text: str
    problems: list[str] = field(default_factory=list)
    labels: frozenset[str] = frozenset()

    def wonder(self, what: str) -> None:
        self.problems.append(what)


def read(text: str) -> Query:
    """Judge an expression."""
    query = Query(text)
    try:
        parsed = promql.parse(text)
    except ValueError as exc:
        query.wonder(f"is no PromQL: {exc}")
    else:
        query.labels = labels_of(parsed, query)
    return query


def labels_of(expr: Any, query: Query) -> frozenset[str]:
    """Return the labels that the results of an expression may have."""
    match expr:
        case promql.VectorSelector():
            return _of_selector(expr, query)
        case promql.MatrixSelector():
            return _of_selector(expr.vector_selector, query)
        case promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            return labels_of(expr.expr, query)
        case promql.AggregateExpr():
            return _of_aggregate(expr, query)
        case promql.BinaryExpr():
            return _of_binary(expr, query)
        case promql.Call():
            return _of_call(expr, query)
    return frozenset()  # numbers and strings


def _of_selector(selector: Any, query: Query) -> frozenset[str]:
    matchers = selector.matchers.matchers
    if not selector.name:
        query.wonder("asks for series without a name")
        return TARGET
    series = known().get(selector.name) or _recorded().get(selector.name)
    if series is None:
        query.wonder(f"{selector.name} is served by nobody")
        return TARGET
    for matcher in matchers:
        if matcher.name not in series.labels:
            query.wonder(f"{selector.name} has no label {matcher.name}")
        elif unknown := set(_words(matcher)) - _values(matcher.name, series):
            query.wonder(f"{matcher.name} of {selector.name} is never {', '.join(sorted(unknown))}")
    return series.labels


@cache
def _recorded() -> dict[str, Series]:
    return {rule["record"]: Series(rule["record"], "gauge", frozenset({"cell"})) for rule in records()}


def _words(matcher: Any) -> Iterable[str]:
    """The values that a matcher names; patterns name none."""
    is_pattern = matcher.op in (promql.MatchOp.Re, promql.MatchOp.NotRe)
    given = matcher.value.split("|") if is_pattern else [matcher.value]
    return [word for word in given if word and re.fullmatch(r"[\w.]+", word)]


def _values(label: str, series: Series) -> set[str]:
    """The values a label may have, as far as they are listed."""
    if label in _OPEN or series.metric == "ALERTS":
        return _Any()
    if label == "le":
        return _Any()
    return docs.values(label, series.metric) | {"none"}


class _Any(set[str]):
    """All there are."""

    def __rsub__(self, other: Any) -> set[str]:
        return set()


def _of_aggregate(expr: Any, query: Query) -> frozenset[str]:
    inner = labels_of(expr.expr, query)
    if expr.modifier is None:
        return inner if str(expr.op) in {"topk", "bottomk"} else frozenset()
    named = frozenset(expr.modifier.labels)
    if unknown := named - inner:
        query.wonder(f"groups by {', '.join(sorted(unknown))}, which nothing in it has")
    is_by = expr.modifier.type == promql.AggModifierType.By
    return (inner & named) if is_by else inner - named


def _of_binary(expr: Any, query: Query) -> frozenset[str]:
    left, right = labels_of(expr.lhs, query), labels_of(expr.rhs, query)
    if _is_scalar(expr.lhs):
        return right
    if _is_scalar(expr.rhs) or expr.modifier is None or expr.modifier.matching is None:
        return left
    matching = expr.modifier.matching
    named, is_on = frozenset(matching.labels), matching.type == promql.LabelModifierType.Include
    for side, labels in (("left", left), ("right", right)):
        if is_on and (unknown := named - labels):
            query.wonder(f"matches on {', '.join(sorted(unknown))}, which the {side} side has not")
    more = frozenset(expr.modifier.group_labels or ())
    if unknown := more - right - left:
        query.wonder(f"takes over {', '.join(sorted(unknown))}, which nobody has")
    is_of_sets = str(expr.op) in {"and", "or", "unless"}
    is_many = expr.modifier.card in (promql.VectorMatchCardinality.ManyToOne, promql.VectorMatchCardinality.OneToMany)
    if is_of_sets:
        return left | right if str(expr.op) == "or" else left
    if is_many:
        many = left if expr.modifier.card == promql.VectorMatchCardinality.ManyToOne else right
        return many | more
    return left & named if is_on else left - named


def _is_scalar(expr: Any) -> bool:
    if isinstance(expr, promql.ParenExpr):
        return _is_scalar(expr.expr)
    is_of_no_series = isinstance(expr, promql.Call) and expr.func.return_type == promql.ValueType.Scalar
    return is_of_no_series or isinstance(expr, promql.NumberLiteral)


def _of_call(expr: Any, query: Query) -> frozenset[str]:
    name, arguments = expr.func.name, list(expr.args)
    labels = [labels_of(argument, query) for argument in arguments]
    for argument in arguments:
        if isinstance(argument, promql.MatrixSelector):
            _check_range(name, argument.vector_selector.name, query)
    if name == "histogram_quantile" and "le" not in labels[1]:
        query.wonder("takes a quantile of what has no le")
    if name == "label_replace":
        return labels[0] | {arguments[1].val}
    found = frozenset().union(*labels)
    return found - {"le"} if name == "histogram_quantile" else found


def _check_range(function: str, name: str | None, query: Query) -> None:
    series = known().get(name or "")
    if series and series.kind != "counter" and function in _OF_COUNTERS:
        query.wonder(f"{function} of {name}, which is a {series.kind}")
    if series and series.kind == "counter" and function in _OF_GAUGES:
        query.wonder(f"{function} of {name}, which is a counter")

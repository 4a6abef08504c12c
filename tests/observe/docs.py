"""docs/metrics.md, as tests read it."""

import re
from pathlib import Path

from prometheus_client import CollectorRegistry

TEXT = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
_ROWS = re.findall(r"^\| (`[\w`, ]+?)(?: of ([\w`, ]+))? \| (.*) \|$", TEXT.partition("## Labels")[2], re.MULTILINE)


def names(cell: str) -> set[str]:
    """What stands between backticks."""
    return set(re.findall(r"`([\w<>/-]+)`", cell))


def metrics(process: str) -> list[str]:
    """The rows of the metrics that a process serves."""
    section = TEXT.partition(f"## `dispatcher {process}`")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| `dispatcher_")]


def labels() -> set[str]:
    """The labels whose values are listed."""
    return {label for cell, _, _ in _ROWS for label in names(cell)}


def values(label: str, metric: str) -> set[str]:
    """The values of a label, of this metric if it has some of its own."""
    own = [values for cell, of, values in _ROWS if label in names(cell) and metric in names(of)]
    rows = own or [values for cell, of, values in _ROWS if label in names(cell) and not of]
    assert len(rows) == 1, f"{label} of {metric} is described {len(rows)} times"
    return names(rows[0])


def assert_documented(registry: CollectorRegistry, open_labels: set[str]) -> None:
    """Every value of every label is listed, but of those that are open."""
    for family in registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        for sample in family.samples if name.startswith("dispatcher_") else ():
            for label in set(sample.labels) - open_labels - {"le"}:
                assert sample.labels[label] in values(label, name), sample

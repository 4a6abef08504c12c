"""The few shapes of PromQL that our panels are made of. Each takes a metric and what its labels must be."""

from typing import Final

CELL: Final = 'cell=~"$cell"'
NUMBER: Final = 'number=~"$number"'
OURS: Final = 'job=~"dispatcher.*"'
"""What tells our processes from others; rules and the example of a scrape configuration use the same."""
RATE: Final = "[$__rate_interval]"


def of(metric: str, *labels: str, **equal: str) -> str:
    """Return a selector within the chosen cell."""
    exact = (f'{label}="{value}"' for label, value in equal.items())
    return f"{metric}{{{','.join((CELL, *labels, *exact))}}}"


def total(metric: str, *labels: str, by: str = "", **equal: str) -> str:
    """Return the sum of a gauge that each process has for itself."""
    return f"sum{_by(by)}({of(metric, *labels, **equal)})"


def seen(metric: str, *labels: str, by: str = "", **equal: str) -> str:
    """Return the sum of what the exporter sees of a cell, once also while two exporters run."""
    return f"sum{_by(by)}(max without (instance, pod) ({of(metric, *labels, **equal)}))"


def most(metric: str, *labels: str, by: str = "", **equal: str) -> str:
    """Return the highest value of a gauge."""
    return f"max{_by(by)}({of(metric, *labels, **equal)})"


def per_s(metric: str, *labels: str, by: str = "", **equal: str) -> str:
    """Return how often a counter counts, a second."""
    return f"sum{_by(by)}(rate({of(metric, *labels, **equal)}{RATE}))"


def seen_per_s(metric: str, *labels: str, by: str = "", **equal: str) -> str:
    """Return how often what is counted in a cell happens, a second; once also while two exporters run."""
    return f"sum{_by(by)}(max without (instance, pod) (rate({of(metric, *labels, **equal)}{RATE})))"


def seen_over_range(metric: str, *labels: str, by: str = "", **equal: str) -> str:
    """Return the same in the time that the dashboard shows."""
    return f"sum{_by(by)}(max without (instance, pod) (increase({of(metric, *labels, **equal)}[$__range])))"


def over_range(metric: str, *labels: str, by: str = "", **equal: str) -> str:
    """Return what a counter counted in the time that the dashboard shows."""
    return f"sum{_by(by)}(increase({of(metric, *labels, **equal)}[$__range]))"


def quantile(share: float, histogram: str, *labels: str, by: str = "", **equal: str) -> str:
    """Return below which value so much of a histogram lies."""
    grouped = f"le, {by}" if by else "le"
    return (
        f"histogram_quantile({share}, sum by ({grouped}) (rate({of(f'{histogram}_bucket', *labels, **equal)}{RATE})))"
    )


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else ""

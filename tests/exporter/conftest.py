"""Scrapes of an exporter within this process, each with a look of its own unless they share one."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import structlog
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from dispatcher.exporter.log import ExporterLog
from dispatcher.exporter.look import FRESH_S
from dispatcher.exporter.run import ExporterMetrics, assembled
from dispatcher.observe import logs
from dispatcher.settings import Settings
from dispatcher.store.embedded import Server
from tests.servers import PATIENCE_S
from tests.store.cell import Cell

LONG: dict[str, Any] = {"redis_timeout_s": 3.5, "number_lease_s": 7.0}
"""As long as settings allow: here a slow answer of Redis is an answer."""
Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Scrape:
    """What was served: figures by name and labels."""

    figures: dict[str, dict[Labels, float]]

    def value(self, name: str, **labels: str) -> float | None:
        return self.figures.get(f"dispatcher_{name}", {}).get(frozenset(labels.items()))

    def by(self, name: str, *labels: str) -> dict[Any, float]:
        """Figures by the values of some labels, or by that of one."""
        found = {}
        for key, figure in self.figures.get(f"dispatcher_{name}", {}).items():
            values = tuple(dict(key)[label] for label in labels)
            found[values if len(labels) > 1 else values[0]] = figure
        return found

    @property
    def names(self) -> set[str]:
        return {name for name in self.figures if name.startswith("dispatcher_")}


@dataclass
class Exporter:
    """An exporter within this process."""

    metrics: ExporterMetrics

    async def scrape(self) -> Scrape:
        text = (await asyncio.to_thread(generate_latest, self.metrics.registry)).decode()
        figures: dict[str, dict[Labels, float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                by_labels = figures.setdefault(sample.name, {})
                labels = frozenset(sample.labels.items())
                assert labels not in by_labels, f"{sample} is there twice"
                by_labels[labels] = sample.value
        return Scrape(figures)


@asynccontextmanager
async def exporting(
    url: str, timeout_s: float = PATIENCE_S, fresh_s: float = FRESH_S, **given: Any
) -> AsyncIterator[Exporter]:
    settings = Settings(redis_url=url, **{**LONG, **given})
    with assembled(settings, ExporterLog("exporter"), timeout_s=timeout_s, fresh_s=fresh_s) as metrics:
        yield Exporter(metrics)


async def scraped(url: str, **given: Any) -> Scrape:
    """Look anew."""
    async with exporting(url, **given) as exporter:
        return await exporter.scrape()


@pytest.fixture
async def cell(redis: Redis, server: Server) -> Cell:
    made = Cell(redis)
    made.url = server.url
    return made


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logs.set_up("ERROR")
    yield
    structlog.reset_defaults()  # this test's output is closed by then

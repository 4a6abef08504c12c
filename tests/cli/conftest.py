"""Commands run in this process against the suite's server, each test in an empty folder with an empty cell."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner

from dispatcher.cli.commands import app
from dispatcher.store import numbers
from dispatcher.store.embedded import Server
from tests.store.cell import NUMBER, OTHER, WABA, Cell, published

_Answer = TypeVar("_Answer")

NUMBERS = [published(NUMBER, "otp-us", 80.0, WABA), published(OTHER, "campaigns", 1000.0, "")]
NUMBERS_FILE = f"""
[numbers.{NUMBER}]
name = "otp-us"
waba_id = "{WABA}"
access_token = {{ env = "NOT_SET_HERE" }}
"""


@dataclass(frozen=True)
class Said:
    """What a command left behind: exit code, standard output, and standard error on one line without boxes."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Commands:
    """Runs commands, and arranges the cell they meet."""

    def __init__(self, url: str) -> None:
        self.url = url

    def run(self, *arguments: str) -> Said:
        found = CliRunner().invoke(app, list(arguments), prog_name="dispatcher", catch_exceptions=False)
        return Said(found.exit_code, found.stdout, one_line(found.stderr))

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Run a command that must end with the code and have said nothing but JSON."""
        said = self.run(*arguments, "--json")
        assert said.code == code, said
        return said.json

    def arrange(self, work: Callable[[Cell], Awaitable[_Answer]]) -> _Answer:
        async def arranged() -> _Answer:
            async with Redis.from_url(self.url, protocol=2) as redis:
                cell = Cell(redis)
                answer = await work(cell)
                await cell.pipeline.idle()
                return answer

        return asyncio.run(arranged())

    def register(self) -> None:
        self.arrange(lambda cell: cell.run(numbers.publish, NUMBERS))


def one_line(text: str) -> str:
    return re.sub(r"[│╭╮╰╯─\s]+", " ", text).strip()


@pytest.fixture
def commands(server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Commands:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISPATCHER_REDIS_URL", server.url)
    monkeypatch.setenv("COLUMNS", "140")
    commands = Commands(server.url)
    commands.arrange(lambda cell: cell.redis.flushall())
    return commands

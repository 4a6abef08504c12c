"""What all tests share: servers of their own, nothing of the developer's settings, and a word on what was left out."""

import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from redis.asyncio import Redis

from dispatcher.store.embedded import Server
from tests.servers import OwnServer

LEFT_OUT = pytest.StashKey[dict[str, set[str]]]()
MAY_BE_LEFT_OUT = {"fixtures": "Meta's example payloads", "prometheus": "Prometheus (apt-get install prometheus)"}
"""Marks of tests that do not run everywhere, and what they need."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--server",
        metavar="PATH",
        default=os.environ.get("TEST_SERVER") or None,
        help="the redis-server or valkey-server to test on (default: TEST_SERVER, else the embedded one)",
    )


def pytest_configure(config: pytest.Config) -> None:
    names: dict[str, set[str]] = {mark: set() for mark in MAY_BE_LEFT_OUT}
    config.stash[LEFT_OUT] = names
    config.pluginmanager.register(LeftOut(names), "left-out")
    # Also for the processes that tests start.
    for name in [name for name in os.environ if name.startswith("DISPATCHER_")]:
        del os.environ[name]


@pytest.fixture(scope="session", autouse=True)
def _away_from_the_checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The developer's `.env` and `numbers.toml`, with their real tokens, must not be found."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("empty"))
    yield
    os.chdir(before)


@pytest.fixture(scope="session")
def server_path(pytestconfig: pytest.Config) -> Path | None:
    """The server asked for with --server or TEST_SERVER; none means the embedded one."""
    given = pytestconfig.getoption("--server")
    return (pytestconfig.invocation_params.dir / given).resolve() if given else None


@pytest.fixture(scope="session")
def server(server_path: Path | None) -> Iterator[Server]:
    """The suite's server: nothing persisted, nothing evicted. A test that harms its server takes `own_server`."""
    with Server(server_path) as running:
        yield running


@pytest.fixture
async def redis(server: Server) -> AsyncIterator[Redis]:
    """A client that speaks bytes to the suite's server, emptied for this test."""
    async with Redis.from_url(server.url, protocol=2) as client:
        await client.flushall()
        yield client


@pytest.fixture
def own_server(server_path: Path | None) -> Iterator[OwnServer]:
    """Starts servers of the test's own."""
    started: list[Server] = []

    def start(path: Path | None = None, *, options: Mapping[str, str] | None = None) -> Server:
        started.append(Server(path or server_path, options=options))
        return started[-1].start()

    yield start
    for running in started:
        running.close()


class LeftOut:
    """Notes which tests did not run that may be left out, says so at the end, and fails the run where CI is set."""

    def __init__(self, names: dict[str, set[str]]) -> None:
        self.names = names

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        for mark, names in self.names.items():
            names.update(item.nodeid for item in items if item.get_closest_marker(mark))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for mark, names in self.names.items():
            if report.skipped and mark in report.keywords:
                names.add(report.nodeid)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        is_some = any(self.names.values())
        if is_some and os.environ.get("CI") == "true" and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not any(self.names.values()):
            return
        terminalreporter.section("left out", yellow=True)
        for mark, names in self.names.items():
            if names:
                terminalreporter.line(f"{len(names)} tests that need {MAY_BE_LEFT_OUT[mark]} did not run")
        if os.environ.get("CI") == "true":
            terminalreporter.line("CI=true: leaving them out is a failure", red=True)

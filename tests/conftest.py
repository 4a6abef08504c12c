"""What all tests share: servers of their own, nothing of the developer's settings, and a word on what was left out."""

import fcntl
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from redis.asyncio import Redis

from dispatcher.store.embedded import Server
from tests.servers import MadeOnce, OwnServer

LEFT_OUT = pytest.StashKey[dict[str, set[str]]]()
MAY_BE_LEFT_OUT = {"fixtures": "Meta's example payloads", "prometheus": "Prometheus (apt-get install prometheus)"}
"""Marks of tests that do not run everywhere, and what they need."""
LONG = ("crash", "long", "prometheus")
MADE_ONCE = ("clients", "image")
"""Fixtures that take long to make, and are shared by all workers of pytest-xdist."""
WORKERS_MAX = 16

# How long an example takes says something of the machine, and nothing of the code.
hypothesis.settings.register_profile(
    "suite",
    parent=hypothesis.settings(),
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("suite")


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
    config.pluginmanager.register(LeftOut(names, getattr(config, "workeroutput", None)), "left-out")
    # A shell that put us into the background had us ignore interrupts, and with us the processes that tests start.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Also for the processes that tests start.
    for name in [name for name in os.environ if name.startswith("DISPATCHER_")]:
        del os.environ[name]


def pytest_xdist_auto_num_workers() -> int:
    """Most tests that take long wait: for leases, for processes to start, for servers to come back."""
    return min(2 * (os.cpu_count() or 1), WORKERS_MAX)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that no worker is left alone with it in the end.

    What is made once is made by the first test that needs it; the others come last, or all would wait for it.
    """
    begun: set[str] = set()

    def place(item: pytest.Item) -> int:
        needed = set(MADE_ONCE) & set(getattr(item, "fixturenames", ()))
        if needed:
            is_first = not needed <= begun
            begun.update(needed)
            return 0 if is_first else 3
        return 1 if any(item.get_closest_marker(mark) for mark in LONG) else 2

    items[:] = [item for _, item in sorted(enumerate(items), key=lambda one: (place(one[1]), one[0]))]


@pytest.fixture(scope="session", autouse=True)
def _away_from_the_checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The developer's `.env` and `numbers.toml`, with their real tokens, must not be found."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("empty"))
    yield
    os.chdir(before)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> MadeOnce:
    """Makes folders that all workers of pytest-xdist share: the first that asks for one fills it, the others wait."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder, done = shared / name, shared / f"{name}.made"
        with (shared / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return made


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
    """Notes which tests did not run that may be left out, says so at the end, and fails the run where CI is set.

    Each worker of pytest-xdist has one as well, whose notes of what it deselected come to us in its `output`.
    """

    def __init__(self, names: dict[str, set[str]], output: dict[str, Any] | None) -> None:
        self.names = names
        self.output = output

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        for mark, names in self.names.items():
            names.update(item.nodeid for item in items if item.get_closest_marker(mark))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for mark, names in self.names.items():
            if report.skipped and mark in report.keywords:
                names.add(report.nodeid)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        for mark, names in getattr(node, "workeroutput", {}).get("left out", {}).items():
            self.names[mark].update(names)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self.output is not None:
            self.output["left out"] = {mark: sorted(names) for mark, names in self.names.items()}
            return
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

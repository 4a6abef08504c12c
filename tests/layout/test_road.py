"""How many files somebody must read to follow one message, counted: the road is what this house is kept short for."""

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from redis.asyncio import Redis

import dispatcher
from dispatcher import Template
from dispatcher.simulator import SimulatedNumber, Simulator, SimulatorSettings
from dispatcher.store import schema, scripts
from dispatcher.store.embedded import Server
from tests.api.conftest import Running, running
from tests.api.meta import signed, status, webhook
from tests.cell import OTP, TOKEN, Cell, eventually
from tests.cell import cell as open_cell

LIMIT = 36
"""Files of Python and Lua from `send` to the receipt. It only falls; the aim is 30."""

MESSAGES_MOST = 10

ROOT = Path(dispatcher.__file__).parent
NOT_OURS = ("simulator", "lab")
LUA = ROOT / "store" / "lua"
END = "the road ends here"


async def test_a_message_runs_through_few_files(server: Server, redis: "Redis", tmp_path: Path) -> None:
    """A file is on the road if it ran for each of several messages; what is done now and then, for none of them, is not."""
    numbers = {OTP: SimulatedNumber(token=TOKEN, rate=80)}
    async with (
        Simulator(SimulatorSettings(numbers=numbers)).serving() as simulator,
        open_cell(server.url, tmp_path, simulator) as cell,
        running(server.url, cell=cell.settings.cell) as api,
    ):
        await cell.work()
        await travel("warm", cell, api)  # connections are open and scripts loaded after this
        known = shas(cell, api)
        road = {str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.suffix in (".py", ".lua")}
        for i in range(MESSAGES_MOST):
            async with traced_lua(redis, known) as lua:
                with traced_python() as python:
                    await travel(f"road-{i}", cell, api)
            road &= python | lua
            if len(road) <= LIMIT:
                break
    listed = "\n  ".join(sorted(road))
    assert len(road) <= LIMIT, f"{len(road)} files from send to receipt, at most {LIMIT} are allowed:\n  {listed}"
    assert {"client.py", "worker/delivery.py", "store/lua/work/settle.lua", "store/lua/receipts/receipt.lua"} <= road


async def travel(key: str, cell: Cell, api: Running) -> None:
    """Send a template, and bring its receipt when it is accepted. What is waited for is asked without our own code."""
    await cell.client.send(
        {"number": OTP, "to": "+15551234567", "key": key, "content": Template("shipped", "en_US", body="x")}
    )

    async def told(kind: bytes) -> bool:
        events = await cell.events()
        return any((event[b"key"], event[b"type"]) == (key.encode(), kind) for event in events)

    async def is_worked_off() -> bool:
        return await told(b"delivered") and not await cell.redis.xlen(f"{cell.prefix}webhooks")

    await eventually(lambda: told(b"accepted"))
    [post] = cell.posts(key)
    body = webhook([status(key, "delivered", id=post["wamid"])])
    answer = await api.http.post("/webhooks/whatsapp", content=body, headers=signed(body))
    assert answer.status_code == 200
    await eventually(is_worked_off)


@contextlib.contextmanager
def traced_python() -> Iterator[set[str]]:
    """Gather the files of the package in which a function is called or a coroutine begun, in any thread."""
    seen: set[str] = set()
    found: set[str] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        # a coroutine that goes on is no call: it waits since before, as the loop of a server does
        if event == "call" and frame.f_lineno == frame.f_code.co_firstlineno:
            seen.add(frame.f_code.co_filename)

    sys.setprofile(note)
    threading.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        ours = [Path(name).relative_to(ROOT) for name in seen if name.startswith(f"{ROOT}/")]
        found |= {str(path) for path in ours if path.parts[0] not in NOT_OURS}


@contextlib.asynccontextmanager
async def traced_lua(redis: "Redis", known: dict[str, set[str]]) -> AsyncIterator[set[str]]:
    """Gather the scripts that the server runs, and the shared parts that they are put together from."""
    found: set[str] = set()
    async with redis.monitor() as monitor:
        listening = asyncio.create_task(run_until_end(monitor))
        yield found
        await redis.echo(END)
        for command in await asyncio.wait_for(listening, 10):
            name, _, rest = command.partition(" ")
            if name == "EVALSHA":
                found |= known[rest.split(" ", 1)[0]]


async def run_until_end(monitor: Any) -> list[str]:
    commands: list[str] = []
    async for said in monitor.listen():
        commands.append(said["command"])
        if END in said["command"]:
            break
    return commands


def shas(cell: Cell, api: Running) -> dict[str, set[str]]:
    """By its SHA, the files of each script, as the processes of this cell load it."""
    cells = {schema.Cell.of(cell.settings), schema.Cell.of(api.settings), schema.Cell(cell.settings.cell)}
    names = [path.relative_to(LUA).with_suffix("") for path in LUA.rglob("*.lua") if path.parent.name != "shared"]
    return {scripts.load(of, str(name)).sha: files_of(str(name)) for of in cells for name in names}


def files_of(name: str) -> set[str]:
    """A script's own file and those of the parts it uses."""
    text = (LUA / f"{name}.lua").read_text()
    uses = [line.split()[2:] for line in text.splitlines() if line.startswith("-- USES ")]
    found = {f"store/lua/{name}.lua", "store/lua/shared/base.lua"}
    for part in (part for parts in uses for part in parts):
        found |= files_of(f"shared/{part}")
    return found

"""The play: sets the scene, has the act played, waits for the last receipts, and ends everything in evidence."""

import asyncio
import re
import time
from collections.abc import Sequence
from typing import Final

from dispatcher.client import Dispatcher
from dispatcher.lab.act import LOOK_EVERY_S, Act, Show
from dispatcher.lab.evidence import Evidence, Exit, Fate
from dispatcher.lab.ledger import Ledger
from dispatcher.lab.options import Options
from dispatcher.lab.parts import DemoError, Part
from dispatcher.lab.scene import START_LIMIT_S, STOP_LIMIT_S, Scene, staged
from dispatcher.lab.traffic import Traffic
from dispatcher.lab.watch import Watch, watching

_RECEIPTS_LIMIT_S: Final = 10.0
_RECORDS_A_CALL: Final = 500
_ERROR: Final = re.compile(r'"level": ?"(?:error|critical)"|^Traceback')


async def play(options: Options, show: Show) -> Evidence:
    """Play it once; everything that was started is ended, however it goes.

    Raises:
        SettingsError: There is no server to run.
        QueueUnavailable: The server did not start, or answers no more.
        DemoError: Another part did not start, or a message was refused.
    """
    started_at = time.monotonic()
    show.say("starting a server, a simulated Cloud API, a webhook door and the workers")
    async with staged(options) as scene:
        ledger = Ledger(scene.simulator_url)
        async with (
            Dispatcher.connect(scene.server.url) as dispatcher,
            watching(scene.server.url, list(scene.numbers.values())) as watch,
        ):
            await scene.connect_webhooks(ledger)
            await _until_ready(scene, watch)
            await ledger.begin()
            traffic = Traffic(dispatcher, list(scene.numbers.values()), options.rate)
            kill = await Act(options, show, scene, watch, traffic).run(time.monotonic() + options.limit_s)
            show.say("waiting for the last receipts")
            await _until_told(ledger, watch)
            show.say("asking the workers and the webhook door to end")
            exits = await _stop([*(worker for worker in scene.workers if worker.name != kill.worker), scene.door])
            await watch.look()
            show.update(watch, traffic)
            pages = await ledger.read()
            fates = await _fates(dispatcher, list(traffic.sent))
        chronicle = watch.chronicle
        return Evidence(
            sent=traffic.sent,
            fates=fates,
            doubts=chronicle.doubts,
            receipts={key: frozenset(kinds) for key, kinds in chronicle.receipts.items()},
            heard=frozenset(chronicle.heard),
            posts=pages.posts,
            windows=pages.windows,
            overlapping=pages.overlapping,
            webhooks=pages.webhooks,
            kill=kill,
            exits=exits,
            seconds=time.monotonic() - started_at,
            troubles=_troubles([*scene.workers, scene.door]),
        )


async def _until_told(ledger: Ledger, watch: Watch) -> None:
    """Wait until every webhook is delivered and worked off, or the time is up."""
    deadline = time.monotonic() + _RECEIPTS_LIMIT_S
    await ledger.webhooks_settled(_RECEIPTS_LIMIT_S)
    while time.monotonic() < deadline:
        if not (await watch.counts()).webhooks:
            return
        await asyncio.sleep(LOOK_EVERY_S)


async def _until_ready(scene: Scene, watch: Watch) -> None:
    """Wait until all workers serve; one publishes the numbers just before it does."""
    deadline = time.monotonic() + START_LIMIT_S
    while await watch.workers() < len(scene.workers):
        for worker in scene.workers:
            worker.fail_if_ended()
        if time.monotonic() > deadline:
            raise DemoError("the workers do not start")
        await asyncio.sleep(LOOK_EVERY_S)


async def _stop(parts: Sequence[Part]) -> tuple[Exit, ...]:
    """Ask them to end, all at once."""
    for part in parts:
        part.terminate()
    times = await asyncio.gather(*(part.ended(STOP_LIMIT_S) for part in parts))
    return tuple(
        Exit(part.name, part.code, STOP_LIMIT_S if took_s is None else took_s)
        for part, took_s in zip(parts, times, strict=True)
    )


async def _fates(dispatcher: Dispatcher, keys: Sequence[str]) -> dict[str, Fate]:
    """Ask Redis how every message stands; what it does not know is left out."""
    fates: dict[str, Fate] = {}
    for at in range(0, len(keys), _RECORDS_A_CALL):
        some = keys[at : at + _RECORDS_A_CALL]
        for key, record in zip(some, await asyncio.gather(*map(dispatcher.status, some)), strict=True):
            if record is not None:
                fates[key] = Fate(record.state, record.cause, record.error, record.wamid)
    return fates


def _troubles(parts: Sequence[Part]) -> tuple[str, ...]:
    """Return the errors that they logged."""
    return tuple(f"{part.name}: {line}" for part in parts for line in part.said.splitlines() if _ERROR.search(line))

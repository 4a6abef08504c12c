"""A simulator as a process of its own: serves until it is told to stop, and leaves its report behind."""

import asyncio
import gc
import json
import signal
import sys
from pathlib import Path

from dispatcher.simulator.server import Simulator
from dispatcher.simulator.settings import SimulatorSettings


def run(settings: SimulatorSettings, ledger_file: Path | None = None) -> None:
    """Serve until SIGTERM or SIGINT.

    Prints `listening on URL` once it does, and in the end writes the ledger's report as JSON into the file, or to
    standard output.

    Raises:
        OSError: The port is taken, or the file cannot be written.
    """
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = json.dumps(runner.run(_serve(settings)), indent=2) + "\n"
    if ledger_file is None:
        sys.stdout.write(report)
        sys.stdout.flush()
    else:
        ledger_file.write_text(report)


async def _serve(settings: SimulatorSettings) -> dict[str, object]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    async with Simulator(settings).serving() as simulator:
        # What lives as long as the process need not be searched for garbage: a pause there looks like late arrivals.
        gc.collect()
        gc.freeze()
        sys.stdout.write(f"listening on {simulator.url}\n")
        sys.stdout.flush()
        await stop.wait()
    return simulator.ledger.report()

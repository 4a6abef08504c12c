"""`python -m tests.bench`: measures what docs/performance.md explains; ends with 1 if an aim was missed."""

import argparse
import asyncio
import json
import signal
import sys
import time
from typing import Any

from rich.console import Console

from tests.bench import latency, pacing, report, throughput

PARTS = ("pacing", "idle", "urgent", "throughput")


def parser() -> argparse.ArgumentParser:
    """The flags."""
    flags = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    flags.add_argument("--only", type=_parts, default=PARTS, metavar="PART,…", help=", ".join(PARTS))
    flags.add_argument("--seconds", type=float, default=20.0, help="how long each pacing run is measured")
    flags.add_argument("--rates", type=_whole, default=pacing.RATES, metavar="N,…")
    flags.add_argument("--processes", type=_whole, default=pacing.PROCESSES, metavar="N,…")
    flags.add_argument("--rounds", type=int, default=3, help="of throughput; the middle one counts")
    flags.add_argument("--quick", action="store_true", help="everything briefly: shows that it works, proves nothing")
    flags.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    return flags


def _parts(given: str) -> tuple[str, ...]:
    parts = tuple(given.split(","))
    if unknown := set(parts) - set(PARTS):
        raise argparse.ArgumentTypeError(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return parts


def _whole(given: str) -> tuple[int, ...]:
    return tuple(int(part) for part in given.split(","))


def say(text: str) -> None:
    """Tell how far it is, on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the parts asked for, one after the other."""
    brief = arguments.quick
    figures: dict[str, Any] = {"machine": report.machine(), "quick": brief}
    if "pacing" in arguments.only:
        seconds = min(arguments.seconds, 3.0) if brief else arguments.seconds
        processes = arguments.processes[:2] if brief else arguments.processes
        figures["pacing"] = await pacing.measure(say, seconds=seconds, rates=arguments.rates, processes=processes)
    if "idle" in arguments.only:
        figures["idle"] = await latency.measure_idle(
            say, count=30 if brief else 300, processes=(1,) if brief else (1, 2)
        )
    if "urgent" in arguments.only:
        waiting, count = (1_000, 10) if brief else (100_000, 200)
        figures["urgent"] = await latency.measure_urgent(say, count=count, waiting=waiting)
    if "throughput" in arguments.only:
        figures["throughput"] = await throughput.measure(
            say,
            count=1_000 if brief else 5_000,
            arq_count=200 if brief else 2_000,
            rounds=1 if brief else arguments.rounds,
            arq_in_flight=throughput.ARQ_IN_FLIGHT[-1:] if brief else throughput.ARQ_IN_FLIGHT,
        )
    figures["missed"] = report.missed(figures)
    return figures


async def _until_told(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure; SIGTERM ends it as Ctrl-C does, with everything that was started."""
    measuring = asyncio.ensure_future(measure(arguments))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, measuring.cancel)
    return await measuring


def main() -> int:
    arguments = parser().parse_args()
    try:
        figures = asyncio.run(_until_told(arguments))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    if arguments.json:
        print(json.dumps(figures, indent=2, ensure_ascii=False))
    else:
        report.show(figures, Console(width=160))
        print(json.dumps(figures, ensure_ascii=False))
    return 1 if figures["missed"] else 0


if __name__ == "__main__":
    sys.exit(main())

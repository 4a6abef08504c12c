"""`python -m tests.bench`: measures what docs/performance.md explains; ends with 1 if an aim was missed."""

import argparse
import asyncio
import json
import signal
import sys
import time
from typing import Any

from rich.console import Console

from tests.bench import aims, edges, isolation, latency, pacing, reload, report, scale, throughput

PARTS = ("pacing", "idle", "urgent", "isolation", "throughput", "scale", "reload", "edges")


def parser() -> argparse.ArgumentParser:
    """The flags."""
    flags = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    flags.add_argument("--only", type=_parts, default=PARTS, metavar="PART,…", help=", ".join(PARTS))
    flags.add_argument("--seconds", type=float, default=20.0, help="how long each pacing run is measured")
    flags.add_argument("--rates", type=_whole, default=pacing.RATES, metavar="N,…")
    flags.add_argument("--processes", type=_whole, default=pacing.PROCESSES, metavar="N,…")
    flags.add_argument("--rounds", type=int, default=3, help="of throughput; medians count")
    flags.add_argument("--no-bullmq", action="store_true", help="leave BullMQ out, which npm installs for the run")
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
    measures = {
        "pacing": _pacing,
        "idle": _idle,
        "urgent": _urgent,
        "isolation": _isolation,
        "throughput": _throughput,
        "scale": _scale,
        "reload": _reload,
        "edges": _edges,
    }
    figures: dict[str, Any] = {"machine": report.machine(), "quick": arguments.quick}
    for part in PARTS:
        if part in arguments.only:
            figures[part] = await measures[part](arguments)
    figures["missed"] = aims.missed(figures)
    return figures


async def _pacing(given: argparse.Namespace) -> Any:
    seconds = min(given.seconds, 3.0) if given.quick else given.seconds
    processes = given.processes[:2] if given.quick else given.processes
    return await pacing.measure(say, seconds=seconds, rates=given.rates, processes=processes)


async def _idle(given: argparse.Namespace) -> Any:
    return await latency.measure_idle(say, count=30 if given.quick else 300, processes=(1,) if given.quick else (1, 2))


async def _urgent(given: argparse.Namespace) -> Any:
    waiting, count = (1_000, 10) if given.quick else (100_000, 200)
    return await latency.measure_urgent(say, count=count, waiting=waiting)


async def _isolation(given: argparse.Namespace) -> Any:
    # enough, even briefly, that POSTs are in trouble before it ends; more are queued than the first number may send
    return await isolation.measure(say, count=30 if given.quick else 300, backlog=400 if given.quick else 3_000)


async def _throughput(given: argparse.Namespace) -> Any:
    plan = throughput.Plan(
        count=500 if given.quick else 5_000,
        arq_count=100 if given.quick else 2_000,
        rounds=1 if given.quick else given.rounds,
        arq_in_flight=throughput.ARQ_IN_FLIGHT[-1:] if given.quick else throughput.ARQ_IN_FLIGHT,
        with_bullmq=not given.no_bullmq,
    )
    return await throughput.measure(say, plan)


async def _scale(given: argparse.Namespace) -> Any:
    if given.quick:
        plan = scale.Plan(count=500, claims=40, cases=scale.FEW_CASES, idle_s=1.0)
    else:
        plan = scale.Plan(count=20_000, claims=400, cases=scale.CASES, idle_s=10.0)
    return await scale.measure(say, plan)


async def _reload(given: argparse.Namespace) -> Any:
    plan = reload.Plan(numbers=200, calm_s=0.5) if given.quick else reload.Plan(numbers=10_000, calm_s=10.0)
    return await reload.measure(say, plan)


async def _edges(given: argparse.Namespace) -> Any:
    return await edges.measure(say, edges.Plan(300, 100, 1) if given.quick else edges.Plan())


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

"""`python -m dispatcher.simulator`: the simulator without the rest of the command line."""

import argparse
from pathlib import Path

from dispatcher.simulator import flags
from dispatcher.simulator.run import run
from dispatcher.simulator.settings import DEFAULT_RATE, Number, SimulatorSettings


def parser_of_flags() -> argparse.ArgumentParser:
    """The flags."""
    parser = argparse.ArgumentParser(prog="python -m dispatcher.simulator", description="A stand-in for the Cloud API.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one (default)")
    parser.add_argument("--token", help="the token to ask for; without it any will do")
    parser.add_argument("--number", action="append", default=[], help="a number id, repeatable; without any, every id")
    parser.add_argument("--rate", type=float, default=DEFAULT_RATE, help="messages a second and number")
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--jitter-ms", type=float, default=0.0)
    parser.add_argument("--limit-status", type=int, choices=(400, 429), default=400, help="status of limit errors")
    parser.add_argument("--pair-limit", action="store_true", help="one message in 6 s to a recipient, burst 45")
    parser.add_argument("--fault", action="append", default=[], metavar="NAME=CHANCE", help="repeatable")
    parser.add_argument("--webhook", action="append", default=[], metavar="NAME=VALUE", help="repeatable")
    parser.add_argument("--held-template", action="append", default=[], metavar="NAME", help="repeatable")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ledger", type=Path, metavar="FILE", help="where the last report goes, else standard output")
    return parser


def settings_of(arguments: argparse.Namespace) -> SimulatorSettings:
    """What the flags say.

    Raises:
        ValueError: A value is out of its range, or there is no such fault or webhook setting.
    """
    return SimulatorSettings(
        numbers={number: Number() for number in arguments.number},
        token=arguments.token,
        rate=arguments.rate,
        host=arguments.host,
        port=arguments.port,
        latency_ms=arguments.latency_ms,
        jitter_ms=arguments.jitter_ms,
        limit_status=arguments.limit_status,
        has_pair_limit=arguments.pair_limit,
        held_templates=frozenset(arguments.held_template),
        faults=flags.faults(arguments.fault, arguments.seed),
        webhooks=flags.webhooks(arguments.webhook),
    )


def main() -> None:
    """Read the flags and serve."""
    parser = parser_of_flags()
    arguments = parser.parse_args()
    try:
        settings = settings_of(arguments)
    except ValueError as exc:
        parser.error(str(exc))
    try:
        run(settings, arguments.ledger)
    except OSError as exc:
        parser.exit(1, f"{parser.prog}: {exc}\n")


if __name__ == "__main__":
    main()

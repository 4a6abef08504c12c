"""`dispatcher simulator` and `demo`: what needs no account and no server of your own."""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from dispatcher.cli.output import Json, fail

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]
Token = Annotated[str | None, typer.Option(help="The token to require; without it every token is accepted.")]
Numbers = Annotated[
    list[str] | None, typer.Option(help="A phone number id to accept; repeatable. Without any, every id is accepted.")
]
Rate = Annotated[float, typer.Option(help="How many messages a second each number accepts.")]
Latency = Annotated[float, typer.Option(min=0, help="How long each answer takes.")]
Jitter = Annotated[float, typer.Option(min=0, help="Up to how much longer it takes, at random.")]
LimitStatus = Annotated[Literal["400", "429"], typer.Option(help="The HTTP status of rate limit errors.")]
PairLimit = Annotated[
    bool, typer.Option("--pair-limit", help="Accept one message per 6 s to a recipient, after a burst of 45.")
]
Faults = Annotated[
    list[str] | None, typer.Option(metavar="NAME=CHANCE", help="A fault and its probability; repeatable.")
]
Seed = Annotated[int, typer.Option(help="The same seed gives the same faults.")]
Webhooks = Annotated[
    list[str] | None, typer.Option(metavar="NAME=VALUE", help="A setting of the webhooks it sends; repeatable.")
]
HeldTemplates = Annotated[
    list[str] | None, typer.Option(help="A template whose messages are held until you release them; repeatable.")
]
LedgerFile = Annotated[Path | None, typer.Option(help="File for the final report; standard output if left out.")]


def simulate(
    *,
    host: Host = "127.0.0.1",
    port: Port = 0,
    token: Token = None,
    number: Numbers = None,
    rate: Rate = 80.0,
    latency_ms: Latency = 0.0,
    jitter_ms: Jitter = 0.0,
    limit_status: LimitStatus = "400",
    pair_limit: PairLimit = False,
    fault: Faults = None,
    seed: Seed = 0,
    webhook: Webhooks = None,
    held_template: HeldTemplates = None,
    ledger: LedgerFile = None,
    as_json: Json = False,
) -> None:
    """Simulate the Cloud API until told to stop; then report what it saw.

    Its first line says where it listens: set DISPATCHER_GRAPH_URL to that. With --json only the report goes to standard
    output.
    """
    from dispatcher import simulator
    from dispatcher.simulator.server import run

    try:
        settings = simulator.SimulatorSettings(
            host=host,
            port=port,
            token=token,
            numbers={id_: simulator.SimulatedNumber() for id_ in number or []},
            rate=rate,
            latency_ms=latency_ms,
            jitter_ms=jitter_ms,
            limit_status=int(limit_status),
            has_pair_limit=pair_limit,
            held_templates=frozenset(held_template or []),
            faults=simulator.Faults.parse(fault or [], seed),
            webhooks=simulator.WebhookSettings.parse(webhook or []),
        )
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from None
    try:
        report = run(settings, lambda url: _say(url, as_json=as_json))
    except OSError as exc:
        fail(f"{exc}; give another --port, or 0 for a free one")
    _write(json.dumps(report, indent=2) + "\n", ledger, as_json=as_json)


def demo(
    messages: Annotated[int, typer.Option(help="How many messages to send.")] = 2000,
    numbers: Annotated[int, typer.Option(help="How many numbers to send from.")] = 3,
    rate: Annotated[float, typer.Option(help="Messages a second of each number.")] = 80.0,
    workers: Annotated[int, typer.Option(help="How many worker processes.")] = 2,
    server: Annotated[
        Path | None, typer.Option(help="The redis-server or valkey-server to run; the embedded one if left out.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Send a campaign and one-time passwords, on a Redis, a webhook endpoint and a simulated Cloud API of its own."""
    from dispatcher import errors
    from dispatcher.cli.session import explained
    from dispatcher.lab import Options, run

    try:
        options = Options(messages, numbers, rate, workers, server, json=as_json)
    except errors.SettingsError as exc:
        raise typer.BadParameter("; ".join(exc.problems)) from None
    with explained():
        code = run(options)
    raise typer.Exit(code)


def _say(url: str, *, as_json: bool) -> None:
    print(f"listening on {url}", file=sys.stderr if as_json else sys.stdout, flush=True)


def _write(report: str, ledger: Path | None, *, as_json: bool) -> None:
    if as_json or ledger is None:
        sys.stdout.write(report)
        sys.stdout.flush()
    if ledger is not None:
        try:
            ledger.write_text(report)
        except OSError as exc:
            fail(f"--ledger: {exc}")

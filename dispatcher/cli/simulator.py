"""`dispatcher simulator`: a stand-in for the Cloud API."""

import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dispatcher.cli.output import Json, fail

if TYPE_CHECKING:
    from dispatcher.simulator import SimulatorSettings

Host = Annotated[str, typer.Option(help="Where to listen.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes a free one.")]
Token = Annotated[str | None, typer.Option(help="The token to ask for; without it any will do.")]
Numbers = Annotated[list[str] | None, typer.Option(help="A number id, repeatable; without any, every id is taken.")]
Rate = Annotated[float, typer.Option(help="Messages a second and number.")]
Latency = Annotated[float, typer.Option(min=0, help="How long every answer takes.")]
Jitter = Annotated[float, typer.Option(min=0, help="How much longer it takes at most.")]
LimitStatus = Annotated[Literal["400", "429"], typer.Option(help="The HTTP status of limit errors.")]
PairLimit = Annotated[bool, typer.Option("--pair-limit", help="One message in 6 s to a recipient, with a burst of 45.")]
Faults = Annotated[
    list[str] | None, typer.Option(metavar="NAME=CHANCE", help="A fault and how probable it is, repeatable.")
]
Seed = Annotated[int, typer.Option(help="The same seed draws the same faults.")]
Webhooks = Annotated[
    list[str] | None, typer.Option(metavar="NAME=VALUE", help="A setting of the webhooks it sends, repeatable.")
]
HeldTemplates = Annotated[
    list[str] | None, typer.Option(help="A template whose messages are held until released, repeatable.")
]
LedgerFile = Annotated[Path | None, typer.Option(help="Where the last report goes; else standard output.")]


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
    """Stand in for the Cloud API, until told to stop; then report what was seen.

    It says on its first line where it listens; set DISPATCHER_GRAPH_URL to that. With --json the report alone goes to
    standard output.
    """
    from dispatcher.simulator import Number, SimulatorSettings, flags

    try:
        pace = SimulatorSettings(rate=rate, latency_ms=latency_ms, jitter_ms=jitter_ms, limit_status=int(limit_status))
        door = replace(pace, host=host, port=port, token=token, numbers={id_: Number() for id_ in number or []})
        rules = replace(door, has_pair_limit=pair_limit, held_templates=frozenset(held_template or []))
        settings = replace(rules, faults=flags.faults(fault or [], seed), webhooks=flags.webhooks(webhook or []))
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from None
    try:
        _run(settings, ledger, as_json=as_json)
    except OSError as exc:
        fail(f"{exc}; give another --port, or 0 for a free one")


def _run(settings: "SimulatorSettings", ledger: Path | None, *, as_json: bool) -> None:
    from dispatcher.simulator.run import run

    if not as_json:
        run(settings, ledger)
        return
    with TemporaryDirectory() as folder:
        report = ledger or Path(folder) / "ledger.json"
        with redirect_stdout(sys.stderr):
            run(settings, report)
        sys.stdout.write(report.read_text())

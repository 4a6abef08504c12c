"""`dispatcher simulator`: a stand-in for the Cloud API."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dispatcher.cli.output import Json, fail

if TYPE_CHECKING:
    from dispatcher.simulator import SimulatorSettings


def simulate(
    *,
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes a free one.")] = 0,
    token: Annotated[str | None, typer.Option(help="The token to ask for; without it any will do.")] = None,
    number: Annotated[
        list[str] | None, typer.Option(help="A number id, repeatable; without any, every id is taken.")
    ] = None,
    rate: Annotated[float, typer.Option(help="Messages a second and number.")] = 80.0,
    latency_ms: Annotated[float, typer.Option(min=0, help="How long every answer takes.")] = 0.0,
    jitter_ms: Annotated[float, typer.Option(min=0, help="How much longer it takes at most.")] = 0.0,
    limit_status: Annotated[Literal["400", "429"], typer.Option(help="The HTTP status of limit errors.")] = "400",
    pair_limit: Annotated[
        bool, typer.Option("--pair-limit", help="One message in 6 s to a recipient, with a burst of 45.")
    ] = False,
    fault: Annotated[
        list[str] | None, typer.Option(metavar="NAME=CHANCE", help="A fault and how probable it is, repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same faults.")] = 0,
    ledger: Annotated[Path | None, typer.Option(help="Where the last report goes; else standard output.")] = None,
    as_json: Json = False,
) -> None:
    """Stand in for the Cloud API, until told to stop; then report what was seen.

    It says on its first line where it listens; set DISPATCHER_GRAPH_URL to that. With --json the report alone goes to
    standard output.
    """
    from dispatcher.simulator import Faults, Number, SimulatorSettings

    try:
        settings = SimulatorSettings(
            numbers={id_: Number() for id_ in number or []},
            token=token,
            rate=rate,
            host=host,
            port=port,
            latency_ms=latency_ms,
            jitter_ms=jitter_ms,
            limit_status=int(limit_status),
            has_pair_limit=pair_limit,
            faults=Faults(seed=seed, **_chances(fault or [])),
        )
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from None
    try:
        _run(settings, ledger, as_json=as_json)
    except OSError as exc:
        fail(f"{exc}; give another --port, or 0 for a free one")


def _chances(faults: list[str]) -> dict[str, float]:
    from dispatcher.simulator.faults import KINDS

    chances = {}
    for fault in faults:
        name, _, chance = fault.partition("=")
        if name not in KINDS:
            raise typer.BadParameter(f"no fault {name!r}; there is {', '.join(KINDS)}")
        try:
            chances[name] = float(chance)
        except ValueError:
            raise typer.BadParameter(f"--fault {fault!r}: write NAME=CHANCE, such as {name}=0.01") from None
    return chances


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

"""`dispatcher demo`: a campaign and one-time passwords on servers of its own."""

from pathlib import Path
from typing import Annotated

import typer

from dispatcher.cli.output import Json


def demo(
    messages: Annotated[int, typer.Option(min=1, help="How many messages to send.")] = 2000,
    numbers: Annotated[int, typer.Option(min=1, help="From how many numbers.")] = 3,
    rate: Annotated[float, typer.Option(min=0.1, help="Messages a second and number.")] = 80.0,
    workers: Annotated[int, typer.Option(min=1, help="How many worker processes.")] = 2,
    server: Annotated[
        Path | None, typer.Option(help="The redis-server or valkey-server to run; else the embedded one.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a campaign with one-time passwords on a Redis of its own and a simulated Cloud API."""
    from dispatcher.cli.session import explained
    from dispatcher.demo import Options, run

    with explained():
        code = run(Options(messages=messages, numbers=numbers, rate=rate, workers=workers, server=server, json=as_json))
    raise typer.Exit(code)

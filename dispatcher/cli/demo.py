"""`dispatcher demo`: a campaign and one-time passwords on servers of its own."""

from pathlib import Path
from typing import Annotated

import typer

from dispatcher.cli.output import Json


def demo(
    messages: Annotated[int, typer.Option(help="How many messages to send.")] = 2000,
    numbers: Annotated[int, typer.Option(help="From how many numbers.")] = 3,
    rate: Annotated[float, typer.Option(help="Messages a second and number.")] = 80.0,
    workers: Annotated[int, typer.Option(help="How many worker processes.")] = 2,
    server: Annotated[
        Path | None, typer.Option(help="The redis-server or valkey-server to run; else the embedded one.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run a campaign with one-time passwords on a Redis, an API and a simulated Cloud API of its own."""
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

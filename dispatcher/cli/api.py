"""`dispatcher api`: the HTTP door for Meta's webhooks."""

from typing import Annotated

import typer

from dispatcher.cli.output import Json, write_json


def api(
    host: Annotated[str | None, typer.Option(help="Where to listen; DISPATCHER_API_HOST if left out.")] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Where to listen; 0 takes a free one, DISPATCHER_API_PORT if left out."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Take Meta's webhooks in, until told to stop.

    Logs go to standard error as DISPATCHER_LOG_FORMAT says. SIGTERM ends it without losing anything. With --json its
    URL is written once it listens.
    """
    from dispatcher.api import run
    from dispatcher.cli.session import explained
    from dispatcher.settings import Settings

    def say(url: str) -> None:
        if as_json:
            write_json({"url": url})

    with explained():
        settings = Settings.load()
        given = {name: value for name, value in (("api_host", host), ("api_port", port)) if value is not None}
        run.serve(settings.model_copy(update=given), say)

"""`dispatcher exporter`: measures the cell as a whole, for Prometheus."""

from dispatcher.cli.output import Json, write_json


def export(as_json: Json = False) -> None:
    """Serve metrics of the whole cell, until told to stop.

    Logs go to standard error as DISPATCHER_LOG_FORMAT says. With --json its URL is written once it listens.
    """
    from dispatcher.cli.session import explained
    from dispatcher.exporter import run
    from dispatcher.settings import Settings

    def say(url: str) -> None:
        if as_json:
            write_json({"url": url})

    with explained():
        run.serve(Settings.load(), say)

"""All commands as one application. It must stay light: `--help` imports this, and the commands' modules, alone."""

from importlib.metadata import version
from typing import Annotated

import typer

from dispatcher.cli import api, cancel, demo, events, exporter, number, send, simulator, status, stop, worker

app = typer.Typer(
    help="Deliver WhatsApp messages through Meta's Cloud API: queued on Redis, paced per number, each key once.",
    epilog="Settings come from DISPATCHER_* variables and .env. Exit codes: 0 done, 1 something refused or broken, "
    "2 wrong usage, 3 Redis or Graph away.",
    no_args_is_help=True,
    # a traceback for people shows locals in some versions, and with them secrets
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"dispatcher {version('whatsapp-dispatcher')}")
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


app.command("worker")(worker.work)
app.command("api")(api.api)
app.command("exporter")(exporter.export)
app.command("send")(send.send)
app.command("status")(status.status)
app.command("cancel")(cancel.cancel)
app.command("events")(events.events)
app.add_typer(number.app, name="numbers")
app.add_typer(stop.app, name="stops")
app.command("simulator")(simulator.simulate)
app.command("demo")(demo.demo)

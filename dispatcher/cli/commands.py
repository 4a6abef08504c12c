"""All commands as one application. It must stay light: `--help` imports this, and the commands' modules, alone."""

from typing import Annotated

import typer

from dispatcher.cli import events, numbers, processes, send, simulator, status, stops

app = typer.Typer(
    help="Deliver WhatsApp messages through Meta's Cloud API: queued in Redis, within each number's rate, "
    "each key once.",
    epilog="Settings come from DISPATCHER_* variables and .env. Exit codes: 0 done, 1 refused or failed, "
    "2 wrong usage, 3 Redis or the Graph API cannot be reached.",
    no_args_is_help=True,
    # a traceback for people shows locals in some versions, and with them secrets
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"dispatcher {version('whatsapp-dispatcher')}")
        raise typer.Exit


@app.callback()
def _root(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


app.command("worker")(processes.work)
app.command("api")(processes.api)
app.command("exporter")(processes.export)
app.command("send")(send.send)
app.command("status")(status.status)
app.command("cancel")(send.cancel)
app.command("events")(events.events)
app.add_typer(numbers.app, name="numbers")
app.add_typer(stops.app, name="stops")
app.command("simulator")(simulator.simulate)
app.command("demo")(simulator.demo)

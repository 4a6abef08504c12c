"""`dispatcher worker`: delivers what is queued."""

from typing import Annotated

import typer


def work(
    processes: Annotated[
        int, typer.Option(min=1, max=256, help="How many processes; each but the first takes the next metrics port.")
    ] = 1,
    child_of: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Deliver what is queued, until told to stop.

    Logs go to standard error as DISPATCHER_LOG_FORMAT says. SIGTERM ends it without losing anything, SIGHUP reads the
    numbers file again.
    """
    from dispatcher import environment, process
    from dispatcher.cli.session import explained
    from dispatcher.numbersfile import NumbersFile
    from dispatcher.settings import Settings

    with explained():
        settings = Settings.load()
        if processes == 1 or child_of is not None:
            process.work(settings, parent=child_of)
            return
        # said here once, not by each child again and again
        NumbersFile.load(settings.numbers_file, environ=environment.read())
    if process.Parent(settings, processes).run():
        raise typer.Exit(1)

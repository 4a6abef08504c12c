"""`dispatcher worker`, `api` and `exporter`: programs that run until told to stop."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final

import typer

from dispatcher import errors
from dispatcher.cli.output import REFUSED, Json, fail, failure, write_json

_FOR_CHILDREN: Final = ("--json",)


def work(
    processes: Annotated[
        int,
        typer.Option(
            min=1, max=256, help="How many processes to run; each further one serves metrics on the next port."
        ),
    ] = 1,
    child_of: Annotated[int | None, typer.Option(hidden=True)] = None,
    as_json: Json = False,
) -> None:
    """Deliver queued messages until told to stop.

    Logs go to standard error in the format that DISPATCHER_LOG_FORMAT names; with --json always as JSON lines.

    SIGTERM stops it without losing anything. SIGHUP makes it read the numbers file again.
    """
    with _explained(is_child=child_of is not None, as_json=as_json):
        code = _work(processes, child_of, as_json=as_json)
    trouble = f"a worker process ended with {code}: the log says why" if code else ""
    if trouble and not as_json:
        fail(trouble)
    if as_json and child_of is None:
        write_json(failure(trouble, ended="broken") if trouble else {"ended": "stopped"})
    raise typer.Exit(REFUSED if trouble else 0)


def api(
    host: Annotated[str | None, typer.Option(help="Address to listen on; DISPATCHER_API_HOST if left out.")] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one. DISPATCHER_API_PORT if left out."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Receive Meta's webhooks until told to stop.

    Logs go to standard error in the format that DISPATCHER_LOG_FORMAT names. SIGTERM stops it without losing
    anything. With --json it writes its URL as soon as it listens.
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


def export(as_json: Json = False) -> None:
    """Serve Prometheus metrics of the whole cell until told to stop.

    Logs go to standard error in the format that DISPATCHER_LOG_FORMAT names. With --json it writes its URL as soon as
    it listens.
    """
    from dispatcher.cli.session import explained
    from dispatcher.exporter import run
    from dispatcher.settings import Settings

    def say(url: str) -> None:
        if as_json:
            write_json({"url": url})

    with explained():
        run.serve(Settings.load(), say)


def _work(processes: int, child_of: int | None, *, as_json: bool) -> int:
    from dispatcher.settings import NumbersFile, Settings
    from dispatcher.worker import parent

    settings = Settings.load()
    if as_json:
        settings = settings.model_copy(update={"log_format": "json"})
    if processes == 1 or child_of is not None:
        parent.work(settings, parent=child_of)
        return 0
    # said here once, not by each child again and again
    NumbersFile.load(settings.numbers_file)
    return parent.Parent(settings, processes, _FOR_CHILDREN if as_json else ()).run()


@contextmanager
def _explained(*, is_child: bool, as_json: bool) -> Iterator[None]:
    """Say what is wrong with the settings; with --json in the log, and by the first process as the answer."""
    from dispatcher.cli.session import explained
    from dispatcher.worker import parent

    if not as_json:
        with explained():
            yield
        return
    try:
        yield
    except errors.SettingsError as exc:
        parent.log_refusal(exc.problems)
        if not is_child:
            write_json(failure("\n".join(exc.problems), ended="settings"))
        raise typer.Exit(REFUSED) from None

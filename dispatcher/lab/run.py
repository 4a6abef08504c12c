"""Runs the demo from its options to its exit code; the only module of it that prints."""

import asyncio
import signal
import sys
from contextlib import suppress
from typing import Final

from rich.console import Console

from dispatcher import errors
from dispatcher.lab import report
from dispatcher.lab.act import Show
from dispatcher.lab.evidence import Evidence
from dispatcher.lab.options import Options
from dispatcher.lab.parts import DemoError
from dispatcher.lab.play import play
from dispatcher.lab.progress import showing
from dispatcher.lab.scene import numbers_of

HELD: Final = 0
BROKEN: Final = 1
INTERRUPTED: Final = 130


def run(options: Options) -> int:
    """Play the demo and print what came of it.

    Returns 0 if all promises held, 1 if one was broken or the demo could not be played, 130 if it was interrupted.

    Raises:
        SettingsError: There is no server to run.
    """
    out, aside = Console(), Console(stderr=True)
    names = {number: name for name, number in numbers_of(options).items()}
    is_quiet = options.json and not aside.is_terminal
    try:
        with showing(aside if options.json else out, names, is_quiet=is_quiet) as show:
            evidence = asyncio.run(_until_signalled(options, show))
    except (DemoError, errors.QueueUnavailable) as exc:
        _fail(options, aside, f"the demo could not be played: {exc}")
        return BROKEN
    except (KeyboardInterrupt, asyncio.CancelledError):
        _fail(options, aside, "interrupted; everything that was started has ended")
        return INTERRUPTED
    told = report.summary(evidence)
    if options.json:
        sys.stdout.write(report.as_json(told, options) + "\n")
    else:
        report.tell(told, out, names)
    return HELD if told.is_ok else BROKEN


async def _until_signalled(options: Options, show: Show) -> Evidence:
    """Play; SIGTERM ends it as Ctrl-C does, so that everything is cleaned up."""
    playing = asyncio.current_task()
    loop = asyncio.get_running_loop()
    if playing is not None:
        with suppress(NotImplementedError, RuntimeError, ValueError):  # not in the main thread
            loop.add_signal_handler(signal.SIGTERM, playing.cancel)
    return await play(options, show)


def _fail(options: Options, aside: Console, why: str) -> None:
    if options.json:
        sys.stdout.write(report.failure_as_json(why) + "\n")
    else:
        aside.print(why, highlight=False, markup=False)

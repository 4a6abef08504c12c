"""The command `dispatcher`. Importing this needs the base install only; a command's own needs wait until it runs."""

import sys
from typing import Final

_EXTRAS: Final = {"worker": "worker", "api": "api", "exporter": "worker", "simulator": "demo", "demo": "demo"}
_OF_ALL_OTHERS: Final = "cli"


def main() -> None:
    """Run the command that the process was started with, and exit: 0 done, 1 refused or broken, 2 usage, 3 away."""
    try:
        from dispatcher.cli.commands import app

        app(prog_name="dispatcher")
    except ModuleNotFoundError as exc:
        if not exc.name or exc.name.partition(".")[0] == "dispatcher":
            raise
        print(f"dispatcher: {_what_to_install(sys.argv[1:], exc.name)}", file=sys.stderr)
        sys.exit(1)


def _what_to_install(arguments: list[str], module: str) -> str:
    command = next((word for word in arguments if not word.startswith("-")), "")
    what = f"`dispatcher {command}`" if command else "the command line"
    extra = _EXTRAS.get(command, _OF_ALL_OTHERS)
    return f"{what} needs more than the base install ({module} is missing): pip install 'whatsapp-dispatcher[{extra}]'"

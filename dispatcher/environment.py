"""What the process was given: the environment over `.env`, and which `DISPATCHER_*` names in it are none of ours.

It must not know what the settings mean.
"""

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from pydantic_settings import BaseSettings, DotEnvSettingsSource

from dispatcher import errors

PREFIX: Final = "DISPATCHER_"

# What Kubernetes puts into every pod for a Service called `dispatcher` or `dispatcher-…`:
# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_INJECTED: Final = re.compile(
    r"DISPATCHER_(?:[A-Z0-9_]+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_INJECTED_PORT: Final = re.compile(r"(?:tcp|udp|sctp)://.*")


def read(environ: Mapping[str, str] | None = None, env_file: Path | str | None = ".env") -> dict[str, str]:
    """Return `environ` (default: that of the process) over what `env_file` holds; an empty value counts as not given.

    A missing `env_file` is none. Names with our prefix are written in capitals.

    Raises:
        SettingsError: The file is there and cannot be read.
    """
    try:
        from_file = DotEnvSettingsSource(BaseSettings, env_file=env_file, case_sensitive=True).env_vars
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        raise errors.SettingsError((f"{env_file} cannot be read: {why}",)) from exc
    given = {_capitals(name): value for name, value in from_file.items() if value}
    given |= {_capitals(name): value for name, value in (os.environ if environ is None else environ).items() if value}
    return given


def ours(given: Mapping[str, str]) -> dict[str, str]:
    """Return what has our prefix and was not put there by Kubernetes, by full name."""
    return {name: value for name, value in given.items() if name.startswith(PREFIX) and not _is_injected(name, value)}


def unknown(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return a sentence for each of the `names` that is not `known`; values are not shown, they may be secrets."""
    every = list(known)
    return [f"{name}: no such setting{did_you_mean(name, every)}" for name in sorted(set(names) - set(every))]


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Return "; did you mean …?" with the known name nearest to the given one, or nothing if none is near."""
    short = {name.removeprefix(PREFIX): name for name in known}
    near = difflib.get_close_matches(given.removeprefix(PREFIX), list(short), n=1)
    return f"; did you mean {short[near[0]]}?" if near else ""


def _capitals(name: str) -> str:
    return name.upper() if name.upper().startswith(PREFIX) else name


def _is_injected(name: str, value: str) -> bool:
    # A Service called `dispatcher-metrics` injects DISPATCHER_METRICS_PORT=tcp://…: our own name, with a value that is
    # never meant for us. Whatever the name, such an address counts as not given.
    if name.endswith("_PORT") and _INJECTED_PORT.fullmatch(value):
        return True
    return _INJECTED.fullmatch(name) is not None

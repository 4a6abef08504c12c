"""What a process and the machine ask of each other: a name, sockets, a quiet garbage collector; signals to end.

Knows nothing of what the process does.
"""

import asyncio
import gc
import os
import resource
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

clock = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
"""Seconds that go on while the machine sleeps, and never step."""

_TURN_S = 0.0005
_SOCKETS = 10_240  # the most that macOS grants


def process_name() -> str:
    """Return a name that no other process has or will have."""
    return f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(4)}"


def freeze() -> None:
    """Keep the collector away from what was made so far, which lives as long as the process.

    Young objects are looked at often, so that each pause stays well below the 15 ms of rate that a bucket holds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 50)


@contextmanager
def aside() -> Iterator[None]:
    """Read much in a thread, while the event loop serves on; one thread at a time.

    The loop gets its turn within half a millisecond: after the usual 5 ms each socket that is ready waits so long for
    its own, and with ten of them the loop is 50 ms late. The garbage collector rests: again and again it would look at
    all that was read so far, and nobody else runs meanwhile (measured: 50 ms at a time with 10,000 numbers).
    """
    turn_s, is_collecting = sys.getswitchinterval(), gc.isenabled()
    sys.setswitchinterval(_TURN_S)
    gc.disable()
    try:
        yield
    finally:
        sys.setswitchinterval(turn_s)
        if is_collecting:
            gc.enable()


def allow_sockets() -> None:
    """Ask for enough open sockets: some systems allow only 256 unless asked for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _SOCKETS if hard == resource.RLIM_INFINITY else min(_SOCKETS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def end_on_signals(stop: Callable[[str], None], limit_s: float) -> None:
    """Call `stop` with the name of the first SIGTERM or SIGINT.

    A second signal, or a stop that takes longer than `limit_s` seconds, ends the process at once.
    """
    loop = asyncio.get_running_loop()
    stopping = False

    def hear(name: str) -> None:
        nonlocal stopping
        if stopping:
            os._exit(1)  # asked twice: now
        stopping = True
        loop.call_later(limit_s, os._exit, 1)
        stop(name)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, hear, number.name)

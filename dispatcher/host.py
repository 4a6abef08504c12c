"""What a process asks of the machine: a name of its own, enough sockets, a garbage collector that keeps out of the way.

Knows nothing of what the process does.
"""

import gc
import os
import resource
import secrets
import socket

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


def allow_sockets() -> None:
    """Ask for enough open sockets: some systems allow only 256 unless asked for more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _SOCKETS if hard == resource.RLIM_INFINITY else min(_SOCKETS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

"""The server behind a cell: its clock, and whether it keeps what it is given.

Asked by INFO, as managed servers block CONFIG.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from dispatcher import errors
from dispatcher.store.schema import US
from dispatcher.store.scripts import Command, Steps, plain

OLDEST = (6, 2)


@dataclass(frozen=True, slots=True)
class Health:
    """How a server stands: memory in bytes (`max_bytes` 0 is without limit), and whether what it holds is safe."""

    used_bytes: int
    max_bytes: int
    never_evicts: bool
    is_append_only: bool
    persistence_ok: bool


def server_time() -> Command[int]:
    """Return the time by Redis's clock, which is the one that decides, in µs."""
    return plain("TIME", parse=lambda reply: int(reply[0]) * US + int(reply[1]))


def fullness() -> Command[float]:
    """Return which share of its memory limit the server uses; 0 where it has none."""

    def parse(reply: object) -> float:
        found = _fields(reply)
        used, most = int(found.get("used_memory", "0")), int(found.get("maxmemory", "0"))
        return used / most if most else 0.0

    return plain("INFO", "memory", parse=parse)


def health() -> Steps[Health]:
    """Return how the server stands."""
    found = yield from _sections("memory", "persistence")
    states = ("rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status")
    return Health(
        used_bytes=int(found.get("used_memory", "0")),
        max_bytes=int(found.get("maxmemory", "0")),
        never_evicts=found.get("maxmemory_policy", "noeviction") == "noeviction",
        is_append_only=found.get("aof_enabled") == "1",
        persistence_ok=all(found.get(name, "ok") == "ok" for name in states),
    )


def check_schema() -> Steps[None]:
    """See that this release knows the cell's data. A Redis that is away may come later: each connection is checked.

    Raises:
        SettingsError: the data is of a later release.
    """
    try:
        yield plain("PING", parse=bool)
    except errors.UnknownSchema as exc:
        raise errors.SettingsError((exc.reason,)) from None
    except errors.QueueUnavailable:
        pass


def check() -> Steps[list[str]]:
    """Return warnings about the server.

    Raises:
        SettingsError: it is too old, or evicts what it was given, or the cell's data is of a later release.
    """
    yield from check_schema()
    found = yield from _sections("server", "memory", "persistence")
    version = tuple(int(part) for part in re.findall(r"\d+", found.get("redis_version", "0"))[:2])
    if version < OLDEST:
        raise errors.SettingsError(
            (f"Redis {found.get('redis_version')} is too old: 6.2 or later, or Valkey, is needed",)
        )
    policy, limit = found.get("maxmemory_policy", "noeviction"), int(found.get("maxmemory", "0"))
    if limit and policy != "noeviction":
        raise errors.SettingsError(
            (f"Redis would evict messages: set maxmemory-policy to noeviction (it is {policy})",)
        )
    warnings = []
    if policy != "noeviction":
        warnings.append(f"maxmemory-policy is {policy}: set noeviction before you set maxmemory")
    if found.get("aof_enabled") == "0":
        warnings.append("append-only persistence is off: a restart of Redis forgets messages; set appendonly yes")
    return warnings


def _sections(*names: str) -> Steps[Mapping[str, str]]:
    found: dict[str, str] = {}
    for section in (yield [plain("INFO", name, parse=_fields) for name in names]):
        found |= section
    return found


def _fields(info: object) -> dict[str, str]:
    text = info.decode() if isinstance(info, bytes) else str(info)
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

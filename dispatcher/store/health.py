"""Whether a Redis keeps what it is given, and has room for it: asked by INFO, as managed ones block CONFIG."""

import re
from dataclasses import dataclass

from dispatcher import errors
from dispatcher.store.pipeline import Line

OLDEST = (6, 2)


@dataclass(frozen=True, slots=True)
class Health:
    """How a server stands: memory in bytes (`max_bytes` 0 is without limit), and whether what it holds is safe."""

    used_bytes: int
    max_bytes: int
    never_evicts: bool
    is_append_only: bool
    persistence_ok: bool


async def health(line: Line) -> Health:
    """Return how the server behind the line stands; raises `errors.QueueUnavailable`."""
    found = _fields(await line.command("INFO", "memory")) | _fields(await line.command("INFO", "persistence"))
    states = ("rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status")
    return Health(
        used_bytes=int(found.get("used_memory", "0")),
        max_bytes=int(found.get("maxmemory", "0")),
        never_evicts=found.get("maxmemory_policy", "noeviction") == "noeviction",
        is_append_only=found.get("aof_enabled") == "1",
        persistence_ok=all(found.get(name, "ok") == "ok" for name in states),
    )


async def check(line: Line) -> list[str]:
    """Return warnings about the server behind the line.

    Raises:
        SettingsError: it is too old, or evicts what it was given.
        QueueUnavailable: it did not answer.
    """
    found: dict[str, str] = {}
    for section in ("server", "memory", "persistence"):
        found |= _fields(await line.command("INFO", section))
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


def _fields(info: object) -> dict[str, str]:
    if isinstance(info, dict):
        return {str(name): str(value) for name, value in info.items()}
    text = info.decode() if isinstance(info, bytes) else str(info)
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

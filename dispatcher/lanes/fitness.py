"""Whether a Redis keeps what it is given: asked once when a worker starts, by INFO, as managed ones block CONFIG."""

import re

from dispatcher import errors
from dispatcher.lanes.line import Line

OLDEST = (6, 2)


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

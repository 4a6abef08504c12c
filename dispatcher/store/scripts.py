"""The Lua scripts of `store/lua`, one a step, as named values. Knows no connection."""

import functools
import hashlib
from dataclasses import dataclass
from importlib import resources


@dataclass(frozen=True, slots=True)
class Script:
    """A script with what it shares put before it."""

    name: str
    text: str
    sha: str


@functools.cache
def script(name: str) -> Script:
    """Read `lua/<name>.lua`; `record.lua` goes before it, because Redis's Lua cannot include."""
    folder = resources.files("dispatcher.store") / "lua"
    text = (folder / "record.lua").read_text() + (folder / f"{name}.lua").read_text()
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())

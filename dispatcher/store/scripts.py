"""The Lua scripts, and commands as values: what Redis is asked, and how its reply is read. Knows no connection.

A script's header says what it takes and gives, and is all that either side counts positions by:

    -- USES message gate         parts of lua/shared that go before it, with what they use themselves
    -- KEYS due sending          in Lua KEY.due; a name that the caller does not give is that key of the cell
    -- ARGS owner sequence       in Lua ARG.owner; what comes once
    -- ENTRY key claim outcome   in Lua `for i, entry in entries() do`, entry.key; what comes many times
    -- REPLY state wait_us       in Lua reply({state = …}); in Python a NamedTuple with these fields
    -- ROW   key claim body      the same for what a reply holds many of

What stands in parentheses is for people. A line may be said again to go on. What a cell has fixed (retention, leases,
windows, tries) is written before the script as constants when it is loaded.
"""

import functools
import hashlib
import json
import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Generic, TypeVar

from dispatcher.message.priority import DEAD_KEPT_S, LANE_DEFAULTS, Priority
from dispatcher.store.schema import SCHEMA, Cell

# Both are `str` or `bytes` on the way out; numbers are written by whoever knows their unit.
Argument = str | bytes | int | float
T = TypeVar("T")

TRIES = (0, 9, 9)
"""Attempts by lane: the first and eight retries; an urgent message is tried until its time runs out."""
LAPSES = 3
"""Leases of a message that may end before it is dead."""

_DEFAULT_EVENTS_KEPT_S = 86_400
_DIRECTIVE = re.compile(r"^-- (USES|KEYS|ARGS|ENTRY|REPLY|ROW)\s+([^(\n]+)", re.MULTILINE)
# What a script had done before an error stays done.
_COUNTED = """local is_whole, answer = pcall(main)
write_counts()
if not is_whole then error(answer, 0) end
return answer
"""
_COMMENT = re.compile(r"^[ \t]*--.*\n", re.MULTILINE)
_STATEMENT = re.compile(r"^(?=\w)(?!end\b)", re.MULTILINE)
_LOCAL = re.compile(r"local (?:function )?([\w, ]+)")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Script:
    """A script of one cell: its text with all that goes before it, and what its header says."""

    name: str
    text: str
    sha: str
    keys: tuple[str, ...]
    args: tuple[str, ...]
    entry: tuple[str, ...]
    reply: tuple[str, ...]
    row: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Command(Generic[T]):
    """One question to Redis and the way to read its reply; `script` is None where it is a plain command.

    `default` is the answer where a key is not of the kind it should be, for those who only look; else that raises.
    """

    words: tuple[Argument, ...]
    parse: Callable[[Any], T]
    script: Script | None = None
    default: T | None = None


Steps = Generator[Command[Any] | Sequence[Command[Any]], Any, T]
"""Commands one after the other, each or several at once answered before the next; for what no single script does."""


def plain(*words: Argument, parse: Callable[[Any], T], default: T | None = None) -> Command[T]:
    """Make a command of Redis's own.

    Its name travels as bytes: those are known to none of redis-py's callbacks for replies, which differ by version.
    """
    name, *rest = words
    return Command((str(name).encode(), *rest), parse, default=default)


def call(  # noqa: PLR0913 - a script is called with what its header names
    cell: Cell,
    name: str,
    parse: Callable[[Any], T],
    *,
    keys: Mapping[str, str] | None = None,
    more_keys: Sequence[str] = (),
    args: Mapping[str, Argument] | None = None,
    entries: Iterable[Sequence[Argument]] = (),
    reads: tuple[type, ...] = (),
) -> Command[T]:
    """Call a script: `keys` and `args` by the names of its header, `entries` as NamedTuples with its fields.

    `reads` are the NamedTuples that `parse` makes of the reply and of its rows; they too must have the header's fields.

    Raises:
        ValueError: what is given is not what the header says.
    """
    script = load(cell, name)
    given_keys, given = keys or {}, args or {}
    words: list[Argument] = [given_keys[key] if key in given_keys else cell.key(key) for key in script.keys]
    words += more_keys
    count = len(words)
    if len(given) != len(script.args):
        raise ValueError(f"{name} takes {script.args}, given {tuple(given)}")
    words += [given[arg] for arg in script.args]
    for entry in entries:
        _check(script, script.entry, type(entry))
        words += entry
    for fields, kind in zip((script.reply, script.row), reads, strict=False):
        _check(script, fields, kind)
    return Command(("EVALSHA", script.sha, count, *words), parse, script)


@functools.cache
def load(cell: Cell, name: str) -> Script:
    """Read a script and put before it what it shares, its constants and its header's names."""
    body = _read(name)
    header = _header(body)
    parts = _parts(("base", *header["USES"]))
    shared = [_constants(cell), *(_stripped(_read(f"shared/{part}")) for part in parts)]
    main = _stripped(body)
    if "message" in parts:  # counts are written at the end, whichever way the script leaves
        main = f"local function main()\n{main}\nend\n{_COUNTED}"
    text = _with_what_it_uses("\n".join(shared), f"{_names(header)}\n{main}")
    sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    fields = (header[name] for name in ("KEYS", "ARGS", "ENTRY", "REPLY", "ROW"))
    return Script(name.rpartition("/")[2], text, sha, *fields)


_CHECKED: set[tuple[str, type]] = set()


def _check(script: Script, fields: tuple[str, ...], kind: type) -> None:
    """Hold a NamedTuple against a header, once."""
    if (script.name, kind) not in _CHECKED:
        if fields != getattr(kind, "_fields", None):
            raise ValueError(f"{script.name} has {fields}, given {kind.__name__} {getattr(kind, '_fields', '')}")
        _CHECKED.add((script.name, kind))


@functools.cache
def _read(name: str) -> str:
    return (resources.files("dispatcher.store") / "lua" / f"{name}.lua").read_text()


def _header(text: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = dict.fromkeys(("USES", "KEYS", "ARGS", "ENTRY", "REPLY", "ROW"), ())
    for kind, names in _DIRECTIVE.findall(text):
        found[kind] += tuple(names.partition(",")[0].split())
    return found


def _parts(names: Iterable[str]) -> list[str]:
    """Return the parts of lua/shared in an order in which each comes after those that it uses."""
    found: list[str] = []
    for name in names:
        if name not in found:
            found += [part for part in _parts(_header(_read(f"shared/{name}"))["USES"]) if part not in found]
            found.append(name)
    return found


def _stripped(text: str) -> str:
    """Drop comments, which a server would keep in memory."""
    return _COMMENT.sub("", text)


def _with_what_it_uses(shared: str, text: str) -> str:
    """Put before a text what it uses of what is shared, and what that uses: statements that name no local always."""
    words, found = set(_WORD.findall(text)), [text]
    for statement in reversed(_STATEMENT.split(shared)):
        named = _LOCAL.match(statement)
        if named is None or not words.isdisjoint(_WORD.findall(named[1])):
            words.update(_WORD.findall(statement))
            found.append(statement)
    return "".join(reversed(found))


def _constants(cell: Cell) -> str:
    lanes = [LANE_DEFAULTS[priority] for priority in Priority]
    kept_s = cell.events_kept_s
    values = {
        "CELL": json.dumps(cell.prefix),
        "RECORD_KEPT": _list(round(lane.record_kept_s * 1000) for lane in lanes),  # ms, as all that is kept
        "BODY_KEPT": _list(round(lane.body_kept_s * 1000) for lane in lanes),
        "DEAD_KEPT": round(DEAD_KEPT_S * 1000),
        "EVENTS_KEPT": "math.huge" if kept_s is None else round(kept_s * 1000),
        "HEARD_KEPT": round((kept_s or _DEFAULT_EVENTS_KEPT_S) * 1000),
        "WINDOW": _us(cell.uncertain_window_s),  # µs, as all that is compared with `now`
        "NUMBER_LEASE": round(cell.number_lease_s * 1_000_000),
        "MESSAGE_LEASE": _us(cell.message_lease_s),
        "TRIES": _list(TRIES),
        "LAPSES": LAPSES,
        "SCHEMA": SCHEMA,
    }
    return "\n".join(f"local {name} = {value}" for name, value in values.items())


def _us(lanes_s: Iterable[float]) -> str:
    return _list(round(lane_s * 1_000_000) for lane_s in lanes_s)


def _list(values: Iterable[object]) -> str:
    return "{" + ", ".join(str(value) for value in values) + "}"


def _names(header: Mapping[str, tuple[str, ...]]) -> str:
    keys = ", ".join(f"{name} = KEYS[{at}]" for at, name in enumerate(header["KEYS"], 1))
    args = ", ".join(f"{name} = ARGV[{at}]" for at, name in enumerate(header["ARGS"], 1))
    lines = [f"local KEY, ARG = {{{keys}}}, {{{args}}}"]
    if width := len(header["ENTRY"]):
        first = len(header["ARGS"])
        fields = ", ".join(f"{name} = ARGV[at + {n}]" for n, name in enumerate(header["ENTRY"], 1))
        lines += [
            f"local ENTRIES = (#ARGV - {first}) / {width}",
            f"local function entries() local i, at = 0, {first} - {width}",
            f"  return function() i, at = i + 1, at + {width} if at < #ARGV then return i, {{{fields}}} end end end",
        ]
    for kind, name in (("REPLY", "reply"), ("ROW", "row")):
        if header[kind]:
            fields = ", ".join(f"of.{field}" for field in header[kind])
            lines.append(f"local function {name}(of) return {{{fields}}} end")
    return "\n".join(lines)

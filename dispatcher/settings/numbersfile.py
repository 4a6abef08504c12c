"""The numbers file: which numbers this process may send from, how fast, and with which tokens.

It must not know Redis. What it finds wrong it says without ever showing a token.
"""

import os
import re
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, SecretStr, ValidationError, ValidationInfo
from pydantic_settings import BaseSettings, DotEnvSettingsSource

from dispatcher import errors
from dispatcher.settings.problems import described, explained, problem, shown, why_unreadable
from dispatcher.settings.settings import PREFIX

# Keeps our fingerprints apart from other hashes of the same token. It is no secret: a token has far more entropy than
# could be searched through.
_FINGERPRINT_PERSON: Final = b"dispatcher-token"

_Stamp = tuple[int, int, int] | None
_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Number:
    """A number to send from; `rate_per_s` is in messages a second. Without tokens asked for, `token` is empty."""

    id: str
    name: str
    rate_per_s: float
    waba_id: str | None
    token: SecretStr
    token_fingerprint: str = field(init=False)
    """16 hexadecimal digits that tell tokens apart and say nothing about them; empty without a token."""

    def __post_init__(self) -> None:
        token = self.token.get_secret_value()
        digits = blake2b(token.encode(), digest_size=8, person=_FINGERPRINT_PERSON).hexdigest() if token else ""
        object.__setattr__(self, "token_fingerprint", digits)


class NumbersFile:
    """A numbers file and what it said when it was last in order, to be asked now and then whether it `changed`."""

    def __init__(self, path: Path, *, environ: Mapping[str, str] | None = None, with_tokens: bool = True) -> None:
        """Name the file; `environ` (default: that of the process over `.env`) is where `{ env = … }` tokens are."""
        self.numbers: Mapping[str, Number] = MappingProxyType({})
        """By phone number id."""
        self.path = path
        self._environ = (_environment() if environ is None else environ) if with_tokens else None
        self._stamps: dict[Path, _Stamp] = {}

    @classmethod
    def load(cls, path: Path, *, environ: Mapping[str, str] | None = None, with_tokens: bool = True) -> Self:
        """Read the file and its tokens; with `with_tokens` false the tokens are left alone, for those who only queue.

        Raises:
            SettingsError: With everything that is wrong, at once.
        """
        file = cls(path, environ=environ, with_tokens=with_tokens)
        file.reload()
        return file

    def changed(self) -> bool:
        """Whether the file, or a token file it names, is another than at the last `reload`, be that good or bad."""
        return any(_stamp(path) != stamp for path, stamp in self._stamps.items())

    def reload(self) -> Mapping[str, Number]:
        """Read everything again and return the numbers by id; if anything is wrong, the old numbers stay.

        Raises:
            SettingsError: With everything that is wrong, at once.
        """
        reading = read(self.path, self._environ)
        self._stamps = reading.stamps
        if reading.problems:
            raise errors.SettingsError(tuple(f"{self.path}: {text}" for text in reading.problems))
        self.numbers = MappingProxyType(reading.numbers)
        return self.numbers


@dataclass(frozen=True, slots=True)
class Reading:
    """What one reading found: the numbers by id, which are all of them only if there are no `problems`."""

    path: Path
    environ: Mapping[str, str] | None
    numbers: dict[str, Number] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    stamps: dict[Path, _Stamp] = field(default_factory=dict)
    """How each file that was read looked just before."""

    def content(self, path: Path) -> str:
        """Read a file. Its stamp is taken before, so that a change while we read is seen as one."""
        self.stamps[path] = _stamp(path)
        return path.read_text(encoding="utf-8")

    def checked(self, model: type[_Model], table: object, where: str) -> _Model | None:
        """Return the table as a model, None after noting what is wrong with it."""
        try:
            return model.model_validate(table, context=self)
        except ValidationError as exc:
            self.problems.extend(explained(exc, model, lambda name: f"{where}.{name}".strip(".")))
            return None


def read(path: Path, environ: Mapping[str, str] | None) -> Reading:
    """Read the numbers file and, if `environ` is given, the tokens, wherever it says they are.

    It blocks and changes nothing, so that it may run in a thread.
    """
    reading = Reading(path, environ)
    try:
        document = tomllib.loads(reading.content(path))
    except tomllib.TOMLDecodeError as exc:
        reading.problems.append(f"is not valid TOML: {exc}")
    except (OSError, UnicodeDecodeError) as exc:
        advice = f"numbers.example.toml shows one, {PREFIX}NUMBERS_FILE says where it is"
        reading.problems.append(f"cannot be read ({why_unreadable(exc)}); {advice}")
    else:
        _read_numbers(reading, document)
    return reading


def _read_numbers(reading: Reading, document: dict[str, Any]) -> None:
    reading.checked(_Document, document, "")
    defaults = reading.checked(_Defaults, document.get("defaults", {}), "defaults") or _Defaults()
    tables = document.get("numbers")
    named: defaultdict[str, list[str]] = defaultdict(list)
    for id_, table in tables.items() if isinstance(tables, dict) else ():
        where = f"numbers.{id_}"
        if not re.fullmatch("[0-9]{1,32}", id_):
            right = "1 to 32 digits; a name goes into the field name"
            reading.problems.append(f"{where}: not a phone number id, which is {right}")
        if isinstance(table, dict) and "name" in table:
            named[str(table["name"])].append(id_)
        # Each number in a call of its own: while pydantic validates, no other thread runs.
        if (entry := reading.checked(_NumberTable, table, where)) is not None:
            rate_per_s = entry.messages_per_second or defaults.messages_per_second
            reading.numbers[id_] = Number(id_, entry.name or id_, rate_per_s, entry.waba_id, entry.access_token)
    for name, ids in named.items():
        if len(ids) > 1:
            reading.problems.append(f"numbers: {', '.join(ids)} have the same name {shown(name)}; give each its own")


def _token(given: object, info: ValidationInfo) -> SecretStr:
    """Return the token from where the file says it is; what stands in its place is never repeated."""
    reading: Reading = info.context  # type: ignore[assignment]  # what `checked` passes
    match given:
        case _ if reading.environ is None:
            return SecretStr("")
        case {"file": str(place), **rest} if place and not rest:
            source = f"file {shown(place)}"
            try:
                token = reading.content(reading.path.parent / place).strip()
            except (OSError, UnicodeDecodeError) as exc:
                raise problem(f"{source} cannot be read ({why_unreadable(exc)})") from None
        case {"env": str(name), **rest} if name and not rest:
            source = f"env {shown(name)}"
            if name.startswith(PREFIX):
                raise problem(f"{source} would be refused as an unknown setting; give it another prefix")
            if name not in reading.environ:
                raise problem(f"{source} is not set")
            token = reading.environ[name].strip()
        case _:
            raise ValueError("neither file nor env, or both")
    if not re.fullmatch(r"[!-~]+", token):
        why = "(not shown) has a space, a line break or a character no token has" if token else "is empty"
        raise problem(f"the token in {source} {why}")
    return SecretStr(token)


class _Table(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, validate_default=True, hide_input_in_errors=True, regex_engine="python-re"
    )


_rate = partial(
    described,
    meaning="Messages a second.",
    right="a number above 0, at most 100000 (which stands for no limit)",
    gt=0,
    le=100_000,
    allow_inf_nan=False,
)


class _Defaults(_Table):
    messages_per_second: float = _rate(80.0)  # https://developers.facebook.com/docs/whatsapp/throughput


class _NumberTable(_Table):
    name: str | None = described(
        None,
        "What people and messages may call it.",
        "1 to 64 of a-z, 0-9, - and _, not only digits",
        pattern=r"^(?![0-9]+\Z)[a-z0-9][a-z0-9_-]{0,63}\Z",
    )
    waba_id: str | None = described(
        None,
        "Its WhatsApp Business Account.",
        'the id of a WhatsApp Business Account, which is digits in quotes ("102290129340398")',
        pattern=r"^[0-9]{1,32}\Z",
    )
    messages_per_second: float | None = _rate(None)
    access_token: Annotated[SecretStr, BeforeValidator(_token)] = described(
        None, "Where its token is.", '{ file = "…" } or { env = "…" }, never the token itself', is_secret=True
    )


class _Document(_Table):
    defaults: Any = None
    numbers: dict[str, Any] = described(
        None, "The numbers.", "[numbers.<phone number id>] with an access_token", min_length=1
    )


def _environment() -> dict[str, str]:
    """Return the environment over `.env`, as for the settings: an empty variable counts as not given."""
    of_file = DotEnvSettingsSource(BaseSettings, env_file=".env", case_sensitive=True).env_vars
    return {name: value for name, value in (*of_file.items(), *os.environ.items()) if value}


def _stamp(path: Path) -> _Stamp:
    """What changes with the file; of a link (as Kubernetes makes them for secrets) its target counts."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino

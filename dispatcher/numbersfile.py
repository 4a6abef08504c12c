"""The numbers file: which numbers this process may send from, how fast, and with which tokens.

It must not know Redis or the settings. What it finds wrong it says without ever showing a token.
"""

import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

from pydantic import SecretStr

from dispatcher import environment, errors

RATE_PER_S_DEFAULT: Final = 80.0
"""Messages a second of a number nobody said more about: https://developers.facebook.com/docs/whatsapp/throughput."""
RATE_PER_S_MAX: Final = 100_000.0
"""Messages a second that stand for "unpaced"."""
SHOWN_CHARACTERS_MAX: Final = 80
"""Access tokens are longer than that."""

_ID: Final = re.compile(r"[0-9]{1,32}")
_NAME: Final = re.compile(r"(?![0-9]+\Z)[a-z0-9][a-z0-9_-]{0,63}")
_TOKEN: Final = re.compile(r"[\x21-\x7e]+")
_FILE_FIELDS: Final = ("defaults", "numbers")
_DEFAULTS_FIELDS: Final = ("messages_per_second",)
_NUMBER_FIELDS: Final = ("name", "waba_id", "messages_per_second", "access_token")
_TOKEN_FIELDS: Final = ("file", "env")
_NAME_RIGHT: Final = "1 to 64 of a-z, 0-9, - and _, not only digits"
_WABA_ID_RIGHT: Final = 'the id of a WhatsApp Business Account, which is digits in quotes ("102290129340398")'
_ACCESS_RIGHT: Final = 'write { file = "…" } or { env = "…" }'
# Keeps our fingerprints apart from other hashes of the same token. It is no secret: a token has far more entropy than
# could be searched through.
_FINGERPRINT_PERSON: Final = b"dispatcher-token"

_Stamp = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class Number:
    """A number to send from; `rate_per_s` is in messages a second. Without tokens asked for, `token` is empty."""

    id: str
    name: str
    rate_per_s: float
    waba_id: str | None
    token: SecretStr

    @property
    def token_fingerprint(self) -> str:
        """16 hexadecimal digits that tell tokens apart and say nothing about them; empty without a token."""
        token = self.token.get_secret_value()
        return blake2b(token.encode(), digest_size=8, person=_FINGERPRINT_PERSON).hexdigest() if token else ""


class NumbersFile:
    """A numbers file and what it said when it was last in order, to be asked now and then whether it `changed`."""

    def __init__(self, path: Path, *, environ: Mapping[str, str] | None = None, with_tokens: bool = True) -> None:
        """Name the file; `environ` (default: that of the process) is where `{ env = … }` tokens are."""
        self.path = path
        self.numbers: Mapping[str, Number] = MappingProxyType({})
        """By phone number id."""
        self._environ = os.environ if environ is None else environ
        self._with_tokens = with_tokens
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

    def find(self, id_or_name: str) -> Number | None:
        """Return the number with that id, or else that name."""
        by_id = self.numbers.get(id_or_name)
        return by_id or next((number for number in self.numbers.values() if number.name == id_or_name), None)

    def changed(self) -> bool:
        """Whether the file, or a token file it names, is another than at the last `reload`, be that good or bad."""
        return any(_stamp(path) != stamp for path, stamp in self._stamps.items())

    def reload(self) -> Mapping[str, Number]:
        """Read everything again and return the numbers by id; if anything is wrong, the old numbers stay.

        Raises:
            SettingsError: With everything that is wrong, at once.
        """
        reading = _Reading(self.path, self._environ, with_tokens=self._with_tokens)
        numbers = reading.numbers()
        self._stamps = reading.stamps
        if reading.problems:
            raise errors.SettingsError(tuple(f"{self.path}: {problem}" for problem in reading.problems))
        self.numbers = MappingProxyType({number.id: number for number in numbers})
        return self.numbers


class _Reading:
    """One pass over the file: gathers numbers, problems, and how each file it read looked just before."""

    def __init__(self, path: Path, environ: Mapping[str, str], *, with_tokens: bool) -> None:
        self.path = path
        self.environ = environ
        self.with_tokens = with_tokens
        self.problems: list[str] = []
        self.stamps: dict[Path, _Stamp] = {}

    def numbers(self) -> list[Number]:
        """Return the numbers that could be read; they are only to be used if there are no `problems`."""
        document = self._document()
        if document is None:
            return []
        self._refuse_unknown("", document, _FILE_FIELDS)
        defaults = self._table("defaults", document.get("defaults", {}))
        self._refuse_unknown("defaults.", defaults, _DEFAULTS_FIELDS)
        rate_per_s = self._rate("defaults.", defaults, RATE_PER_S_DEFAULT)
        entries = self._table("numbers", document.get("numbers", {}))
        if not entries and not self.problems:
            self._problem("numbers", "there is none; add [numbers.<phone number id>] with an access_token")
        numbers = [self._number(id_, entry, rate_per_s) for id_, entry in entries.items()]
        self._refuse_shared_names(numbers)
        return numbers

    def _refuse_shared_names(self, numbers: list[Number]) -> None:
        for name, count in Counter(number.name for number in numbers).items():
            if count > 1:
                ids = ", ".join(number.id for number in numbers if number.name == name)
                self._problem("numbers", f"{ids} have the same name {name!r}; give each its own")

    def _document(self) -> dict[str, Any] | None:
        try:
            return tomllib.loads(self._content(self.path))
        except _UnreadableError as exc:
            advice = "numbers.example.toml shows one, DISPATCHER_NUMBERS_FILE says where it is"
            self.problems.append(f"cannot be read ({exc}); {advice}")
        except tomllib.TOMLDecodeError as exc:
            self.problems.append(f"is not valid TOML: {exc}")
        return None

    def _content(self, path: Path) -> str:
        # The stamp comes first: a change while we read is then seen as one.
        self.stamps[path] = _stamp(path)
        try:
            return path.read_text(encoding="utf-8")
        except OSError as exc:
            raise _UnreadableError(exc.strerror or "unknown trouble") from exc
        except UnicodeDecodeError as exc:
            raise _UnreadableError("it is not UTF-8 text") from exc

    def _number(self, id_: str, given: object, rate_per_s: float) -> Number:
        where = f"numbers.{id_}"
        if not _ID.fullmatch(id_):
            self._problem(where, "not a phone number id, which is 1 to 32 digits; a name goes into the field name")
        fields = self._table(where, given)
        self._refuse_unknown(f"{where}.", fields, _NUMBER_FIELDS)
        name = self._text(f"{where}.name", fields.get("name"), _NAME, _NAME_RIGHT)
        waba_id = self._text(f"{where}.waba_id", fields.get("waba_id"), _ID, _WABA_ID_RIGHT)
        rate_per_s = self._rate(f"{where}.", fields, rate_per_s)
        token = self._token(f"{where}.access_token", fields.get("access_token")) if self.with_tokens else ""
        return Number(id_, name or id_, rate_per_s, waba_id, SecretStr(token))

    def _text(self, where: str, given: object, pattern: re.Pattern[str], right: str) -> str | None:
        if given is None or (isinstance(given, str) and pattern.fullmatch(given)):
            return given
        self._problem(where, f"{_shown(given)} is wrong; give {right}")
        return None

    def _rate(self, where: str, fields: Mapping[str, object], default: float) -> float:
        given = fields.get("messages_per_second", default)
        # Comparing also refuses nan and inf, which TOML has.
        if isinstance(given, int | float) and not isinstance(given, bool) and 0 < given <= RATE_PER_S_MAX:
            return float(given)
        right = f"a number above 0, at most {RATE_PER_S_MAX:.0f} (which stands for no limit)"
        self._problem(f"{where}messages_per_second", f"{_shown(given)} is wrong; give {right}")
        return default

    def _token(self, where: str, given: object) -> str:
        """Return the token, or an empty one after noting what is wrong; what stands in the place is never repeated."""
        if not isinstance(given, dict):
            what = "missing" if given is None else "what was given (not shown) is wrong"
            self._problem(where, f"{what}; {_ACCESS_RIGHT}, never the token itself")
            return ""
        self._refuse_unknown(f"{where}.", given, _TOKEN_FIELDS)
        sources = [field for field in _TOKEN_FIELDS if field in given]
        if len(sources) != 1 or not isinstance(given[sources[0]], str) or not given[sources[0]]:
            self._problem(where, f"give one of file and env, a string; {_ACCESS_RIGHT}")
            return ""
        source, place = sources[0], given[sources[0]]
        token = self._token_of_file(where, place) if source == "file" else self._token_of_variable(where, place)
        if token is None:
            return ""
        if not _TOKEN.fullmatch(token):
            why = "is empty" if not token else "(not shown) has a space, a line break or a character no token has"
            self._problem(where, f"the token in {source} {_shown(place)} {why}")
            return ""
        return token

    def _token_of_file(self, where: str, place: str) -> str | None:
        try:
            return self._content(self.path.parent / place).strip()
        except _UnreadableError as exc:
            self._problem(where, f"file {_shown(place)} cannot be read ({exc})")
            return None

    def _token_of_variable(self, where: str, name: str) -> str | None:
        if name.startswith(environment.PREFIX):
            self._problem(where, f"env {_shown(name)} would be refused as an unknown setting; give it another prefix")
            return None
        if name not in self.environ:
            self._problem(where, f"env {_shown(name)} is not set")
            return None
        return self.environ[name].strip()

    def _table(self, where: str, given: object) -> dict[str, Any]:
        if isinstance(given, dict):
            return given
        self._problem(where, f"must be a table; write [{where}] and its fields below")
        return {}

    def _refuse_unknown(self, where: str, given: Iterable[str], known: Iterable[str]) -> None:
        for field in sorted(set(given) - set(known)):
            self._problem(f"{where}{field}", f"no such field{environment.did_you_mean(field, known)}")

    def _problem(self, where: str, what: str) -> None:
        self.problems.append(f"{where}: {what}")


class _UnreadableError(Exception):
    """A file cannot be read; says why."""


def _shown(given: object) -> str:
    """Repeat what was given, unless it may be a token in the wrong place: long, and not a path."""
    shown = repr(given)
    return shown if len(shown) <= SHOWN_CHARACTERS_MAX or "/" in shown else "what was given (not shown)"


def _stamp(path: Path) -> _Stamp:
    """What changes with the file; of a link (as Kubernetes makes them for secrets) its target counts."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino

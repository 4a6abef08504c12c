"""Opt-out and opt-in words: a message that is nothing but one of them is a wish. Knows no Redis and no HTTP."""

import tomllib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

from dispatcher import errors
from dispatcher.meta.webhook import Inbound, Preference

CATEGORY: Final = "marketing"
"""What a word is about; a one-time password still comes to somebody who wrote STOP."""

CHARACTERS_MAX: Final = 100
"""A longer message is a sentence, and a longer entry a mistake."""

_DIRECTIONS: Final = ("stop", "start")
_RIGHT: Final = 'write [en], then stop = ["STOP", …] and start = ["START", …]'

# Words that people tap or write for other reasons are left out on purpose: CANCEL, END, QUIT, "anmelden", "voltar".
# "Stop promotions" is Meta's own opt-out button in marketing templates.
DEFAULTS: Final[Mapping[str, Mapping[str, Sequence[str]]]] = {
    "en": {
        "stop": ["stop", "stop all", "stopall", "unsubscribe", "opt out", "optout", "remove me", "stop promotions"],
        "start": ["start", "unstop", "subscribe", "resubscribe", "opt in", "optin", "resume promotions"],
    },
    "es": {
        "stop": [
            "baja", "alto", "parar", "detener", "dar de baja", "darme de baja", "cancelar suscripción",
            "cancelar suscripcion", "desuscribir", "detener promociones",
        ],
        "start": ["alta", "reanudar", "suscribir", "suscribirme", "reanudar promociones"],
    },
    "pt": {
        "stop": [
            "parar", "pare", "sair", "remover", "descadastrar", "cancelar inscrição", "cancelar inscricao",
            "parar promoções", "parar promocoes",
        ],
        "start": ["retomar", "reativar", "inscrever", "quero receber"],
    },
    "fr": {
        "stop": [
            "arrêt", "arret", "arrêter", "arreter", "désabonner", "desabonner", "me désabonner", "me desabonner",
            "désinscrire", "desinscrire", "désabonnement", "desabonnement",
        ],
        "start": ["reprendre", "réabonner", "reabonner", "m'abonner", "s'abonner"],
    },
    "de": {
        "stop": ["stopp", "abmelden", "abbestellen", "austragen", "keine werbung"],
        "start": ["wieder anmelden", "abonnieren"],
    },
    "it": {
        "stop": ["ferma", "basta", "disiscrivimi", "disiscrivi", "cancellami", "annulla iscrizione"],
        "start": ["riprendi", "riattiva", "iscrivimi"],
    },
    "hi": {
        "stop": ["रोकें", "रोको", "बंद करें", "बन्द करें", "बंद करो", "बंद", "band karo", "band karen"],
        "start": ["शुरू करें", "शुरू करो", "शुरू", "चालू करें", "shuru karo", "shuru karen"],
    },
    "id": {
        "stop": ["berhenti", "berhenti berlangganan", "batal berlangganan", "hentikan"],
        "start": ["mulai", "langganan", "berlangganan"],
    },
    "ar": {
        "stop": ["إيقاف", "ايقاف", "توقف", "أوقف", "اوقف", "قف", "إلغاء الاشتراك", "الغاء الاشتراك"],
        "start": ["ابدأ", "ابدا", "اشتراك", "اشترك", "استئناف"],
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Words:
    """Which messages are wishes, in all languages at once: who writes in which is not known."""

    stops: Mapping[str, bool] = field(default_factory=dict)
    """From a word in its bare form to whether it stops."""

    @classmethod
    def default(cls) -> Self:
        """Return what holds where nothing else is said."""
        return cls.of(DEFAULTS)

    @classmethod
    def of(cls, languages: Mapping[str, Any]) -> Self:
        """Return the words of a mapping from language to `stop` and `start`, each a list; one of them may be missing.

        Raises:
            SettingsError: with everything that is wrong, at once.
        """
        found: dict[str, bool] = {}
        problems: list[str] = []
        for language, lists in languages.items():
            for entry, word, is_stop in _entries(language, lists, problems):
                if found.setdefault(word, is_stop) != is_stop:
                    problems.append(f"{entry} both stops and starts")
        if problems:
            raise errors.SettingsError(tuple(problems))
        return cls(MappingProxyType(found))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a TOML file; it replaces the defaults, and an empty one switches words off.

        Raises:
            SettingsError: with everything that is wrong, at once.
        """
        try:
            languages = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as exc:
            raise errors.SettingsError((f"{path} cannot be read: {exc.strerror or exc}",)) from None
        except ValueError as exc:
            raise errors.SettingsError((f"{path} is no TOML: {exc}",)) from None
        try:
            return cls.of(languages)
        except errors.SettingsError as exc:
            raise errors.SettingsError(tuple(f"{path}: {problem}" for problem in exc.problems)) from None


def preference(inbound: Inbound, words: Words) -> Preference | None:
    """Return the wish that a message is, or None if it is something else, or nobody's."""
    word = bare(inbound.text) if 0 < len(inbound.text) <= CHARACTERS_MAX else ""
    if not inbound.sender or word not in words.stops:
        return None
    return Preference(
        recipient=inbound.sender,
        number=inbound.number,
        waba=inbound.waba,
        category=CATEGORY,
        stops=words.stops[word],
        at_s=inbound.at_s,
        reason=f"wrote {word}",
    )


def bare(text: str) -> str:
    """Return a text without capitals, punctuation, emoji and spaces around it; between words one space is left."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return unicodedata.normalize("NFKC", " ".join("".join(map(_kept, folded)).split()))


def _kept(char: str) -> str:
    """Return letters, digits and their marks as they are, what joins or dresses characters not at all, else a space."""
    category = unicodedata.category(char)
    if category in {"Cf", "Me"} or "\ufe00" <= char <= "\ufe0f":
        return ""
    return char if category[0] in "LMN" else " "


def _entries(language: str, lists: Any, problems: list[str]) -> Iterator[tuple[str, str, bool]]:
    """Yield each word of a language with its place and its direction, and add what is wrong to the problems."""
    if not isinstance(lists, Mapping):
        problems.append(f"{language} is no language's table: {_RIGHT}")
        return
    problems.extend(f"{language}.{name} is unknown: {_RIGHT}" for name in lists if name not in _DIRECTIONS)
    for direction in _DIRECTIONS:
        words = lists.get(direction, [])
        if not isinstance(words, list | tuple):
            problems.append(f"{language}.{direction} must be a list: {_RIGHT}")
            continue
        for word in words:
            entry = f"{language}.{direction}: {str(word)[:CHARACTERS_MAX]!r}"
            if not isinstance(word, str) or len(word) > CHARACTERS_MAX or not bare(word):
                problems.append(f"{entry} is no text of 1 to {CHARACTERS_MAX} characters with a letter or digit")
            else:
                yield entry, bare(word), direction == "stop"

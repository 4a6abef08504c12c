"""The numbers this process may send from, as the numbers file and its token files say now."""

from dataclasses import dataclass
from typing import Protocol

from dispatcher import errors
from dispatcher.settings import Number, NumbersFile


@dataclass(frozen=True, slots=True)
class Changes:
    """What a fresh look found: whether any number is other than before, and which have another token."""

    any: bool = False
    new_tokens: tuple[str, ...] = ()


class Witness(Protocol):
    """Who hears that the numbers file was read, or could not be."""

    def reloaded(self, numbers: int) -> None:
        """The file was read again."""

    def misread(self, exc: errors.SettingsError) -> None:
        """The file is wrong; the numbers stay as they were."""


class Roster:
    """Looks at the files when asked to; a bad file keeps the old numbers and says so."""

    def __init__(self, file: NumbersFile, witness: Witness) -> None:
        self._file = file
        self._witness = witness
        self._distrusted = False

    def get(self, number: str) -> Number | None:
        """Return the number, None if it is not ours (any more)."""
        return self._file.numbers.get(number)

    def all(self) -> list[Number]:
        """List the numbers."""
        return list(self._file.numbers.values())

    def credentials(self) -> dict[str, str]:
        """Return the fingerprint of each number's token."""
        return {number.id: number.token_fingerprint for number in self._file.numbers.values()}

    def distrust(self) -> None:
        """Read the files again at the next look, though they seem unchanged: after a 401, or SIGHUP."""
        self._distrusted = True

    def refresh(self) -> Changes:
        """Read the files again if they have changed."""
        if not self._distrusted and not self._file.changed():
            return Changes()
        self._distrusted = False
        before = dict(self._file.numbers)
        try:
            after = self._file.reload()
        except errors.SettingsError as exc:
            self._witness.misread(exc)
            return Changes()
        if dict(after) == before:
            return Changes()
        self._witness.reloaded(len(after))
        known = {number.id: number.token_fingerprint for number in before.values()}
        new = tuple(number.id for number in after.values() if known.get(number.id) != number.token_fingerprint)
        return Changes(any=True, new_tokens=new)

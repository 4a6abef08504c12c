"""The numbers this process may send from, as the numbers file and its token files say now.

Files are read and compared in a thread: ten thousand numbers take most of a second, in which the event loop serves on.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from dispatcher import errors
from dispatcher.observe.process import aside
from dispatcher.settings import Number, NumbersFile
from dispatcher.worker.log import WorkerLog


@dataclass(frozen=True, slots=True)
class Changes:
    """What nobody was told of yet: that there is `any`, and the ids of numbers that are new or other than before.

    `new_rates` are numbers that had another rate before, `new_tokens` those with another token or none before.
    """

    any: bool = False
    numbers: tuple[str, ...] = ()
    new_rates: tuple[str, ...] = ()
    new_tokens: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _FileState:
    """What the files held at one time; `written_us` is when the numbers file was written, by the wall clock."""

    numbers: Mapping[str, Number]
    credentials: Mapping[str, str]
    written_us: int

    @classmethod
    def by(cls, file: NumbersFile, written_us: int) -> Self:
        return cls(file.numbers, {each.id: each.token_fingerprint for each in file.numbers.values()}, written_us)

    def since(self, before: Self) -> Changes:
        """Compare with what they held before."""
        known, credentials = before.numbers, before.credentials
        tokens = tuple(id_ for id_, token in self.credentials.items() if credentials.get(id_) != token)
        numbers, rates = [], []
        for id_, number in self.numbers.items():
            was = known.get(id_)
            if was is None or (was.name, was.rate_per_s, was.waba_id) != (
                number.name,
                number.rate_per_s,
                number.waba_id,
            ):
                numbers.append(id_)
            if was is not None and was.rate_per_s != number.rate_per_s:
                rates.append(id_)
        return Changes(
            bool(numbers or tokens) or known.keys() != self.numbers.keys(), tuple(numbers), tuple(rates), tokens
        )


class Numbers:
    """Looks at the files when asked to; a bad file keeps the old numbers and says so.

    `by_id` holds those that are ours now.
    """

    def __init__(self, file: NumbersFile, log: WorkerLog) -> None:
        """Begin with what the file held when it was loaded, as if all of it had been announced."""
        self._file = file
        self._log = log
        self._is_stale = False
        self._reading = asyncio.Lock()
        self._current = self._announced = _FileState.by(file, _written_us(file))
        self._changes = Changes()
        self.by_id: Mapping[str, Number] = self._current.numbers

    @property
    def written_us(self) -> int:
        """When the numbers file was written, as far as it was read: µs of the wall clock."""
        return self._current.written_us

    def credentials(self) -> Mapping[str, str]:
        """Return the fingerprint of each number's token."""
        return self._current.credentials

    def reread(self) -> None:
        """Read the files again at the next look, though they seem unchanged: after a 401, or SIGHUP."""
        self._is_stale = True

    async def refresh(self) -> Changes:
        """Read the files again if they have changed; returns what was not announced yet."""
        async with self._reading:
            must_read, self._is_stale = self._is_stale, False
            try:
                found = await asyncio.to_thread(self._read, self._current, self._announced, must=must_read)
            except errors.SettingsError as exc:
                self._log.numbers_refused(exc)
                return self._changes
            if found is not None:
                self._current, self._changes, is_other = found
                self.by_id = self._current.numbers
                if is_other:
                    self._log.numbers_reloaded(len(self._current.numbers))
            return self._changes

    def mark_announced(self) -> None:
        """Take note that all who need to know of the changes do."""
        self._announced, self._changes = self._current, Changes()

    def _read(
        self, before: _FileState, announced: _FileState, *, must: bool
    ) -> tuple[_FileState, Changes, bool] | None:
        """Return what the files say, how it differs from what was announced, and if from before; None if unchanged."""
        with aside():
            if not must and not self._file.changed():
                return None
            written_us = _written_us(self._file)
            self._file.reload()
            now = _FileState.by(self._file, written_us)
            return now, now.since(announced), now.since(before).any


def _written_us(file: NumbersFile) -> int:
    try:
        return file.path.stat().st_mtime_ns // 1000
    except OSError:
        return 0

"""Where the lines of `dispatcher send --file` come from, and the check that each of them has a key."""

import contextlib
import os
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final, Self

import typer

from dispatcher import errors
from dispatcher.cli.bar import Bar
from dispatcher.cli.jsonlines import Line, Splitter, blocks, read

STDIN: Final = "-"


@dataclass(frozen=True, slots=True)
class Source:
    """A descriptor where it stands now, and how many bytes follow, if that is known."""

    descriptor: int
    size: int | None

    @classmethod
    def of(cls, descriptor: int) -> Self:
        """Describe what is open; only a regular file has a size and can be read twice."""
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return cls(descriptor, None)
        return cls(descriptor, found.st_size - os.lseek(descriptor, 0, os.SEEK_CUR))


@contextmanager
def opened(path: str) -> Iterator[Source]:
    """Open a file, or take standard input for `-`.

    Raises:
        BadParameter: it cannot be read.
    """
    if path == STDIN:
        if sys.stdin is None:  # how Python says that it was closed
            raise typer.BadParameter("there is no standard input")
        yield Source.of(sys.stdin.fileno())
        return
    with ExitStack() as stack:
        try:
            # unbuffered: blocks are read by the descriptor
            file = stack.enter_context(open(path, "rb", buffering=0))  # noqa: PTH123 - a pathlib name could not be `-`
        except OSError as exc:
            raise typer.BadParameter(f"{path} cannot be read: {exc.strerror}") from None
        yield Source.of(file.fileno())


@asynccontextmanager
async def with_keys(source: Source, bar: Bar) -> AsyncIterator[Source]:
    """Read all lines once and see that they have keys; what cannot be read twice is kept in a temporary file.

    Raises:
        Refused: lines without a key.
    """
    with ExitStack() as stack:
        start, spool = 0, None
        if source.size is None:
            spool = stack.enter_context(tempfile.TemporaryFile(buffering=0))
        else:
            start = os.lseek(source.descriptor, 0, os.SEEK_CUR)
        count = _Keyless()
        splitter = Splitter()
        async with contextlib.aclosing(blocks(source.descriptor)) as found:
            async for block in found:
                if spool:
                    spool.write(block)
                count.look(splitter.cut(block))
                bar.advance(len(block), f"{count.lines:,} lines")
        count.look(splitter.last())
        count.judge()
        descriptor = spool.fileno() if spool else source.descriptor
        os.lseek(descriptor, start, os.SEEK_SET)
        yield Source.of(descriptor)


class _Keyless:
    """Counts the lines that would be messages without a key; what cannot be read has its refusal later."""

    def __init__(self) -> None:
        self.lines = 0
        self._without = 0
        self._first = 0

    def look(self, lines: Sequence[Line]) -> None:
        for line in lines:
            if line.is_blank:
                continue
            self.lines += 1
            try:
                has_key = read(line).get("key") is not None
            except errors.Refused:
                continue
            if not has_key:
                self._first = self._first or line.number
                self._without += 1

    def judge(self) -> None:
        """Refuse the whole file if there was one."""
        if self._without:
            missing = f"missing in {self._without:,} of {self.lines:,} lines, first in line {self._first}"
            reason = (
                f"{missing}; nothing was queued. Give each line a key, or all of them --batch NAME, "
                "so that sending the file again queues nothing twice"
            )
            raise errors.Refused("key", reason)

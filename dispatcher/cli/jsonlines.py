"""JSON lines of any size: where they come from, split as they come, numbered from 1, each read by itself.

Knows no message but that each has a key.
"""

import asyncio
import os
import stat
import sys
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final, Self

import typer
from pydantic_core import from_json

from dispatcher import errors
from dispatcher.message.content import shown

LINE_BYTES_MAX: Final = 256_000
"""As much as an arq job may have."""

STDIN: Final = "-"
_BLOCK_BYTES: Final = 65_536
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it stands in the file: `size` bytes with its end; its text is None if it is too long to be kept."""

    number: int
    size: int
    text: bytes | None

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing on it."""
        return self.text is not None and not self.text.strip()


class Splitter:
    """Cuts blocks of bytes into lines; what it holds is never more than one block and the longest line allowed."""

    def __init__(self) -> None:
        self._rest = b""
        self._dropped = 0
        self._count = 0

    def cut(self, block: bytes) -> list[Line]:
        """Return the lines that end in this block."""
        *ends, rest = block.split(b"\n")
        lines = [self._line(end, 1) for end in ends]
        self._rest += rest
        if self._dropped or len(self._rest) > LINE_BYTES_MAX:
            self._dropped += len(self._rest)
            self._rest = b""
        return lines

    def last(self) -> list[Line]:
        """Return the line that nothing ended, if there is one."""
        return [self._line(b"", 0)] if self._rest or self._dropped else []

    def _line(self, end: bytes, newline: int) -> Line:
        text, dropped = self._rest + end, self._dropped
        self._rest, self._dropped = b"", 0
        self._count += 1
        size = dropped + len(text) + newline
        if size - newline > LINE_BYTES_MAX:
            return Line(self._count, size, None)
        return Line(self._count, size, text.removeprefix(_BYTE_ORDER_MARK) if self._count == 1 else text)


def read(line: Line) -> dict[str, Any]:
    """Return the object on a line.

    Raises:
        Refused: the line is too long, no JSON, or no object.
    """
    if line.text is None:
        raise errors.Refused("", f"the line has {line.size} bytes: {LINE_BYTES_MAX} are the most a message may have")
    try:
        found = from_json(line.text, allow_inf_nan=False)
    except ValueError as exc:
        raise errors.Refused("", f"not JSON: {str(exc).replace('line 1 column', 'column')}") from None
    if not isinstance(found, dict):
        raise errors.Refused("", f"must be an object, given {shown(found)}")
    return found


async def blocks(source: int) -> AsyncGenerator[bytes, None]:
    """Read a file, pipe or terminal by its descriptor: what is there, as soon as it is there."""
    while True:
        await _readable(source)
        block = os.read(source, _BLOCK_BYTES)
        if not block:
            return
        yield block


async def lines(source: int) -> AsyncGenerator[list[Line], None]:
    """Read the lines of a descriptor, those of a block together."""
    splitter = Splitter()
    async with aclosing(blocks(source)) as found:
        async for block in found:
            yield splitter.cut(block)
    yield splitter.last()


async def _readable(source: int) -> None:
    """Wait until reading does not block, without a thread: one that is stuck in a read outlives an interrupt."""
    loop = asyncio.get_running_loop()
    is_ready = asyncio.Event()
    try:
        loop.add_reader(source, is_ready.set)
    except OSError:  # regular files are always ready, and cannot be waited for
        await asyncio.sleep(0)
        return
    try:
        await is_ready.wait()
    finally:
        loop.remove_reader(source)


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
async def with_keys(source: Source, advance: Callable[[int, str], None]) -> AsyncIterator[Source]:
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
        async with aclosing(blocks(source.descriptor)) as found:
            async for block in found:
                if spool:
                    spool.write(block)
                count.look(splitter.cut(block))
                advance(len(block), f"{count.lines:,} lines")
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
                f"{missing}; nothing was queued. Give every line a key, or use --batch NAME, "
                "so that sending the file again queues nothing twice"
            )
            raise errors.Refused("key", reason)

"""`dispatcher send --file`: queues the lines of a file or of standard input, and is safe to run again.

A few calls are under way at once, each line is judged by itself, and a full Redis is waited for.
"""

import asyncio
import base64
import contextlib
import dataclasses
import hashlib
import json
import os
import re
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Self, TextIO, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from dispatcher import errors
from dispatcher.cli.jsonlines import Line, Source, lines, opened, read, with_keys
from dispatcher.cli.output import REFUSED, Column, TableRow, note, odd, table, write_json
from dispatcher.cli.session import Session, ask, trouble
from dispatcher.client import Dispatcher
from dispatcher.message.message import Message, fingerprint

INTERRUPTED: Final = 130
# With `:` and 16 characters behind it, it must make a key.
_BATCH: Final = re.compile(r"[A-Za-z0-9._:@/+=-]{1,100}")
_SAMPLE: Final = {"number": "1", "to": "+15551234567", "content": {"type": "text", "text": {"body": "Hello"}}}
SHOWN_MAX: Final = 20
"""How many refused lines the report shows; `--refused` writes all."""
# One call is one script, during which nobody else is served; several hide the way to Redis behind our own work.
_LINES_A_CALL: Final = 50
_CALLS_AT_ONCE: Final = 4
_FULL_POLL_S: Final = 1.0
# Where a line has one of these, the default of the other must not come beside it.
_INSTEAD: Final[Mapping[str, str]] = {"number": "phone_number_id", "ttl_s": "expires_at"}

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class SendOptions:
    """What holds for all lines: fields for those without, the batch that gives keys, and the patience in seconds."""

    defaults: Mapping[str, Any]
    batch: str | None
    wait_s: float


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line that was not queued, and why."""

    line: int
    reason: str
    field: str
    key: str | None


@dataclass(slots=True)
class FileReport:
    """Counts while a file is sent; refused lines go to `refused_to` as they are met, the first are kept."""

    refused_to: TextIO | None = None
    lines: int = 0
    queued: int = 0
    duplicates: int = 0
    refused: int = 0
    first_refused: list[RefusedLine] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    ended: str = "done"

    def begin(self) -> None:
        """Start the clock: what was before is not sending."""
        self.started = time.monotonic()

    def refuse(self, line: int, why: errors.Refused) -> None:
        """Count a refused line and note its reason."""
        found = RefusedLine(line, why.reason, why.field, why.key)
        self.refused += 1
        if len(self.first_refused) < SHOWN_MAX:
            self.first_refused.append(found)
        if self.refused_to:
            self.refused_to.write(json.dumps(dataclasses.asdict(found)) + "\n")

    def take(self, *, duplicate: bool) -> None:
        """Count a message that was queued, or recognised by its key."""
        if duplicate:
            self.duplicates += 1
        else:
            self.queued += 1

    def flush(self) -> None:
        """Have all refused lines written, or raise what keeps them from it."""
        if self.refused_to:
            self.refused_to.flush()

    def write(self, *, as_json: bool) -> None:
        """Write what became of the lines so far."""
        seconds = time.monotonic() - self.started
        per_second = (self.queued + self.duplicates) / max(seconds, 0.001)
        if as_json:
            write_json(self._as_object(seconds, per_second))
            return
        if self.first_refused:
            columns = (Column("line", right=True), Column("field"), Column("key"))
            rows = [((found.line, found.field, found.key), [odd(found.reason)]) for found in self.first_refused]
            table(columns, [TableRow(cells, below) for cells, below in rows], below="reason")
        if self.refused > SHOWN_MAX and not self.refused_to:
            note(f"{self.refused - SHOWN_MAX} more lines were refused: --refused FILE writes them all")
        known = f", {self.duplicates:,} already known" if self.duplicates else ""
        refused = f", {self.refused:,} refused" if self.refused else ""
        print(f"{self.queued:,} queued{known}{refused}, in {seconds:.1f} s ({per_second:,.0f} a second)")

    def _as_object(self, seconds: float, per_second: float) -> dict[str, Any]:
        counts = {name: getattr(self, name) for name in ("lines", "queued", "duplicates", "refused")}
        times = {"seconds": round(seconds, 3), "per_second": round(per_second, 1)}
        return {"ended": self.ended, **counts, **times, "refused_lines": self.first_refused}


class ProgressBar:
    """Shows how far a file is, by bytes if its size is known, and what it waits for."""

    def __init__(self, size: int | None) -> None:
        console = Console(stderr=True)
        measures: list[Any] = [SpinnerColumn()]
        if size is not None:
            measures = [BarColumn(), TaskProgressColumn(), TimeRemainingColumn()]
        texts = (TextColumn("{task.description}"), *measures, TextColumn("{task.fields[said]}", markup=False))
        self._is_terminal = console.is_terminal
        self._progress = Progress(*texts, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task("", total=size, said="")
        self._trouble = ""
        self._counts = ""

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Leave the screen to others."""
        self._progress.stop()

    def begin(self, what: str, size: int | None) -> None:
        """Start from zero with the next part of the work."""
        self._counts = ""
        self._progress.reset(self._task, description=what, total=size, said="")

    def advance(self, size: int, counts: str) -> None:
        """Move on by `size` bytes."""
        self._counts = counts
        self._progress.update(self._task, advance=size, said=self._said())

    def wait_for(self, trouble: str) -> None:
        """Say what holds the work up; an empty text says that it goes on."""
        if trouble == self._trouble:
            return
        self._trouble = trouble
        self._progress.update(self._task, said=self._said())
        if trouble and not self._is_terminal:
            note(trouble)

    def _said(self) -> str:
        return f"{self._counts}: {self._trouble}" if self._trouble else self._counts


@dataclass(frozen=True, slots=True)
class _ReadLine:
    line: int
    message: Message


class FileSender:
    """Sends lines and counts them in `report`."""

    def __init__(self, dispatcher: Dispatcher, options: SendOptions, report: FileReport, bar: ProgressBar) -> None:
        self._dispatcher = dispatcher
        self._options = options
        self._report = report
        self._bar = bar
        self._places = asyncio.Semaphore(_CALLS_AT_ONCE)
        self._full_since: float | None = None

    async def run(self, blocks: AsyncIterator[list[Line]]) -> None:
        """Queue all lines; no more are read than are being sent. What is under way is counted before this ends.

        Raises:
            QueueFull: there was no room for any line during the patience.
            QueueUnavailable: Redis did not answer.
        """
        try:
            async with asyncio.TaskGroup() as group:
                async for lines in blocks:
                    for at in range(0, len(lines), _LINES_A_CALL):
                        await self._places.acquire()
                        group.create_task(self._send(lines[at : at + _LINES_A_CALL]))
        except BaseExceptionGroup as exc:
            raise exc.exceptions[0] from None

    async def _send(self, lines: Sequence[Line]) -> None:
        try:
            read = [await self._entry(line) for line in lines]
            entries = [entry for entry in read if entry]
            while entries:
                entries = await _answered(self._offer(entries))
                if entries:
                    await self._wait_for_room()
            size = sum(line.size for line in lines)
            self._bar.advance(size, f"{self._report.queued:,} queued, {self._report.refused:,} refused")
        finally:
            self._places.release()

    async def _entry(self, line: Line) -> _ReadLine | None:
        if line.is_blank:
            return None
        self._report.lines += 1
        try:
            return _ReadLine(line.number, await self._message(read(line)))
        except errors.Refused as exc:
            self._report.refuse(line.number, exc)
            return None

    async def _message(self, given: dict[str, Any]) -> Message:
        message = Message.parse(self._with_defaults(given))
        if message.key is not None:
            return message
        if self._options.batch is None:
            raise errors.Refused("key", "is missing, and there is no --batch that gives one")
        number = await self._dispatcher.number_id(message.number)
        return message.model_copy(update={"number": number, "key": batch_key(self._options.batch, number, message)})

    def _with_defaults(self, given: dict[str, Any]) -> dict[str, Any]:
        for name, value in self._options.defaults.items():
            if given.get(name) is None and given.get(_INSTEAD.get(name, name)) is None:
                given[name] = value
        return given

    async def _offer(self, entries: Sequence[_ReadLine]) -> list[_ReadLine]:
        """Send messages, count them, and return those for which there was no room."""
        full: list[_ReadLine] = []
        offered = iter(entries)
        async for ticket in self._dispatcher.send_many([entry.message for entry in entries]):
            entry = next(offered)
            if isinstance(ticket.error, errors.QueueFull):
                full.append(entry)
            elif isinstance(ticket.error, errors.Refused):
                self._report.refuse(entry.line, ticket.error)
            else:
                self._report.take(duplicate=ticket.duplicate)
        if len(full) < len(entries):
            self._full_since = None
            self._bar.wait_for("")
        return full

    async def _wait_for_room(self) -> None:
        now = time.monotonic()
        self._full_since = self._full_since or now
        left_s = self._full_since + self._options.wait_s - now
        if left_s <= 0:
            raise errors.QueueFull(f"Redis is full, and had no room for {self._options.wait_s:g} s")
        self._bar.wait_for("Redis is full: waiting for room")
        await asyncio.sleep(min(left_s, _FULL_POLL_S))


def batch_key(batch: str, number: str, message: Message) -> str:
    """Return the key of a message without one: the same for the same number, recipient and content in a batch.

    The form may not change between versions: a file that is sent again would be queued again.
    """
    digest = hashlib.blake2b(f"{number}\n{fingerprint(message)}".encode(), digest_size=12).digest()
    return f"{batch}:{base64.urlsafe_b64encode(digest).decode()}"


async def _answered(work: Coroutine[Any, Any, _Answer]) -> _Answer:
    """Await what must not be left half way: if we are cancelled, it ends first, which Redis's timeout bounds."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # whoever was cancelled has no use for it
        raise


def send_file(path: str, options: SendOptions, refused: Path | None, *, as_json: bool) -> NoReturn:
    """Queue the lines of a file, or of standard input for `-`, and report; ends the command with its exit code."""
    _check(options)
    with ExitStack() as stack:
        source = stack.enter_context(opened(path))
        report = FileReport(stack.enter_context(_refused_file(refused, source)) if refused else None)
        try:
            code = ask(lambda session: _send(session, source, options, report), publish=True)
            report.flush()
        except KeyboardInterrupt:
            code = _ended(report, "interrupted", "interrupted", INTERRUPTED)
        except OSError as exc:  # a full disk under the refused lines or the temporary file
            code = _ended(report, "broken", f"stopped: {exc.strerror}", REFUSED)
    report.write(as_json=as_json)
    raise typer.Exit(code or (REFUSED if report.refused else 0))


async def _send(session: Session, source: Source, options: SendOptions, report: FileReport) -> int:
    """Send all lines; returns the exit code where Redis made that impossible, else 0."""
    if "number" in options.defaults:
        await session.dispatcher.number_id(options.defaults["number"])
    async with contextlib.AsyncExitStack() as stack:
        bar = stack.enter_context(ProgressBar(source.size))
        if options.batch is None:
            bar.begin("checking", source.size)
            source = await stack.enter_async_context(with_keys(source, bar.advance))
        bar.begin("sending", source.size)
        report.begin()
        found = await stack.enter_async_context(contextlib.aclosing(lines(source.descriptor)))
        try:
            await FileSender(session.dispatcher, options, report, bar).run(found)
        except errors.QueueUnavailable as exc:
            bar.end()
            said = trouble(exc, session.address)
            return _ended(report, said.word, said.text, said.code)
    return 0


def _ended(report: FileReport, word: str, why: str, code: int) -> int:
    report.ended = word
    note(f"{why}; {report.queued:,} messages were queued. Run it again with the same lines: none is queued twice")
    return code


def _check(options: SendOptions) -> None:
    """See that what holds for all lines is right, before every line is refused for it."""
    if options.batch is not None and not _BATCH.fullmatch(options.batch):
        raise typer.BadParameter(f"--batch must be 1 to 100 characters from A-Za-z0-9._:@/+=-, given {options.batch!r}")
    try:
        Message.parse({**_SAMPLE, **options.defaults})
    except errors.Refused as exc:
        raise typer.BadParameter(str(exc)) from None


@contextmanager
def _refused_file(path: Path, source: Source) -> Iterator[TextIO]:
    if path.exists() and os.path.samestat(path.stat(), os.fstat(source.descriptor)):
        raise typer.BadParameter(f"--refused {path} is the file to send: give another")
    try:
        file = path.open("w", encoding="utf-8")
    except OSError as exc:
        raise typer.BadParameter(f"--refused {path} cannot be written: {exc.strerror}") from None
    try:
        yield file
    finally:
        with contextlib.suppress(OSError):  # a full disk was said already
            file.close()

"""`dispatcher send --file`: queues the lines of a file or of standard input, and is safe to run again."""

import contextlib
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NoReturn, TextIO

import typer

from dispatcher import errors
from dispatcher.cli.bar import Bar
from dispatcher.cli.feed import Feed, Terms
from dispatcher.cli.jsonlines import lines
from dispatcher.cli.output import REFUSED, note
from dispatcher.cli.session import Session, ask, trouble
from dispatcher.cli.source import Source, opened, with_keys
from dispatcher.cli.tally import Tally
from dispatcher.message.message import Message

INTERRUPTED: Final = 130
# With `:` and 16 characters behind it, it must make a key.
_BATCH: Final = re.compile(r"[A-Za-z0-9._:@/+=-]{1,100}")
_SAMPLE: Final = {"number": "1", "to": "+15551234567", "content": {"type": "text", "text": {"body": "Hello"}}}


def send_file(path: str, terms: Terms, refused: Path | None, *, as_json: bool) -> NoReturn:
    """Queue the lines of a file, or of standard input for `-`, and report; ends the command with its exit code."""
    _check(terms)
    with ExitStack() as stack:
        source = stack.enter_context(opened(path))
        tally = Tally(stack.enter_context(_refused_file(refused, source)) if refused else None)
        try:
            code = ask(lambda session: _send(session, source, terms, tally), publish=True)
            tally.flush()
        except KeyboardInterrupt:
            code = _ended(tally, "interrupted", "interrupted", INTERRUPTED)
        except OSError as exc:  # a full disk under the refused lines or the temporary file
            code = _ended(tally, "broken", f"cannot go on: {exc.strerror}", REFUSED)
    tally.report(as_json=as_json)
    raise typer.Exit(code or (REFUSED if tally.refused else 0))


async def _send(session: Session, source: Source, terms: Terms, tally: Tally) -> int:
    """Send all lines; returns the exit code where Redis made that impossible, else 0."""
    if "number" in terms.defaults:
        await session.dispatcher.number_id(terms.defaults["number"])
    async with contextlib.AsyncExitStack() as stack:
        bar = stack.enter_context(Bar(source.size))
        if terms.batch is None:
            bar.begin("checking", source.size)
            source = await stack.enter_async_context(with_keys(source, bar))
        bar.begin("sending", source.size)
        tally.begin()
        found = await stack.enter_async_context(contextlib.aclosing(lines(source.descriptor)))
        try:
            await Feed(session.dispatcher, terms, tally, bar).run(found)
        except errors.QueueUnavailable as exc:
            bar.end()
            said = trouble(exc, session.address)
            return _ended(tally, said.word, said.text, said.code)
    return 0


def _ended(tally: Tally, word: str, why: str, code: int) -> int:
    tally.ended = word
    note(f"{why}; {tally.queued:,} messages were queued. Run it again with the same lines: none is queued twice")
    return code


def _check(terms: Terms) -> None:
    """See that what holds for all lines is right, before every line is refused for it."""
    if terms.batch is not None and not _BATCH.fullmatch(terms.batch):
        raise typer.BadParameter(f"--batch must be 1 to 100 characters from A-Za-z0-9._:@/+=-, given {terms.batch!r}")
    try:
        Message.parse({**_SAMPLE, **terms.defaults})
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

"""Lines out of blocks, each read by itself, and the keys of lines without one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher import errors
from dispatcher.cli.jsonlines import LINE_BYTES_MAX, Line, Splitter, read
from dispatcher.cli.sendfile import batch_key
from dispatcher.message.message import Message, read_key

NUMBER = "106540352242922"
HELLO = {"type": "text", "text": {"body": "Hello"}}


def cut(*blocks: bytes) -> list[Line]:
    splitter = Splitter()
    return [line for block in blocks for line in splitter.cut(block)] + splitter.last()


def key(number: str = NUMBER, to: str = "+15551234567", **content: object) -> str:
    return batch_key("spring", number, Message.parse({"number": number, "to": to, "content": content or HELLO}))


@given(st.lists(st.binary(max_size=8).map(lambda block: block.replace(b"\xef", b"\n")), max_size=20))
def test_lines_do_not_depend_on_where_blocks_end(blocks: list[bytes]) -> None:
    whole = b"".join(blocks)
    texts = whole.split(b"\n")
    if not texts[-1]:
        texts.pop()
    found = cut(*blocks)
    assert [(line.number, line.text) for line in found] == list(enumerate(texts, 1))
    assert sum(line.size for line in found) == len(whole)


@pytest.mark.parametrize("block_bytes", [1000, 65_536, LINE_BYTES_MAX, 3 * LINE_BYTES_MAX])
def test_a_line_that_is_too_long_is_dropped_and_spoils_nothing(block_bytes: int) -> None:
    most, more = b"x" * LINE_BYTES_MAX, b"y" * (2 * LINE_BYTES_MAX)
    whole = b"\n".join([most, more, b"{}", most + b"z"])
    found = cut(*(whole[at : at + block_bytes] for at in range(0, len(whole), block_bytes)))
    assert found == [
        Line(1, LINE_BYTES_MAX + 1, most),
        Line(2, 2 * LINE_BYTES_MAX + 1, None),
        Line(3, 3, b"{}"),
        Line(4, LINE_BYTES_MAX + 1, None),
    ]


def test_the_mark_of_editors_that_begin_a_file_with_one_is_no_part_of_it() -> None:
    assert [line.text for line in cut(b"\xef\xbb\xbf{}\r\n\r\n{}")] == [b"{}\r", b"\r", b"{}"]
    assert [line.is_blank for line in cut(b"{}\r\n \r\n{}")] == [False, True, False]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "the line has 300000 bytes: 256000 are the most a message may have"),
        (b"{", "not JSON: EOF while parsing an object at column 1"),
        (b'{"to": NaN}', "not JSON: expected value at column 8"),
        (b'{"to": "\xff"}', "not JSON: invalid unicode"),
        (b'{"to": "\\ud800"}', "not JSON: "),
        (b'{} {"to": 1}', "not JSON: trailing characters at column 4"),
        (b"[" * 100_000, "not JSON: recursion limit exceeded"),
        (b"[1]", "must be an object, given a list"),
        (b"null", "must be an object, given null"),
    ],
)
def test_what_is_no_object_says_why(text: bytes | None, reason: str) -> None:
    with pytest.raises(errors.Refused) as caught:
        read(Line(7, 300_000, text))
    assert (caught.value.field, caught.value.key) == ("", None)
    assert caught.value.reason.startswith(reason)


def test_a_key_of_a_batch_stays_what_it_is() -> None:
    """A file that is sent again after an upgrade must not be queued again."""
    assert key() == "spring:l6JHNIY2yDaXRpKh"


def test_a_key_of_a_batch_is_that_of_number_recipient_and_content() -> None:
    again: dict[str, Any] = {"text": {"body": "Hello"}, "type": "text", "messaging_product": "whatsapp"}
    assert key(to="1 (555) 123-4567", **again) == key()
    assert len({key(), key("206540352242922"), key(to="+15551234568"), key(type="text", text={"body": "Bye"})}) == 4


def test_the_longest_batch_still_makes_a_key() -> None:
    message = Message.parse({"number": NUMBER, "to": "+15551234567", "content": HELLO})
    made = batch_key("b" * 100, NUMBER, message)
    assert read_key(made) == made

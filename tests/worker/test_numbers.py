"""The numbers a process may send from follow the files, and a bad file changes nothing."""

import gc
import os
import sys
from pathlib import Path
from typing import cast

import pytest

from dispatcher.errors import SettingsError
from dispatcher.settings import NumbersFile
from dispatcher.worker.log import WorkerLog
from dispatcher.worker.numbers import Changes, Numbers
from tests.cell import NAMES, OTP, SHOP, write_numbers


class Heard:
    def __init__(self) -> None:
        self.words: list[object] = []

    def numbers_reloaded(self, numbers: int) -> None:
        self.words.append(numbers)

    def numbers_refused(self, exc: SettingsError) -> None:
        self.words.append(exc.problems)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return write_numbers(tmp_path)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def numbers(files: tuple[Path, Path], heard: Heard) -> Numbers:
    return Numbers(NumbersFile.load(files[0]), cast(WorkerLog, heard))


async def test_a_new_token_is_noticed_and_named(numbers: Numbers, files: tuple[Path, Path]) -> None:
    assert await numbers.refresh() == Changes()
    before = dict(numbers.credentials())
    files[1].write_text("EAAGanother")
    assert await numbers.refresh() == Changes(any=True, new_tokens=(OTP, SHOP))
    assert numbers.credentials().keys() == before.keys()
    assert not set(numbers.credentials().values()) & set(before.values())


async def test_files_are_read_though_they_seem_unchanged_when_told_so(
    numbers: Numbers, files: tuple[Path, Path]
) -> None:
    token_file = files[1]
    before = token_file.stat()
    token_file.write_text(token_file.read_text()[::-1])
    os.utime(token_file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert await numbers.refresh() == Changes()
    numbers.reread()
    assert await numbers.refresh() == Changes(any=True, new_tokens=(OTP, SHOP))


async def test_changes_are_named_until_they_are_announced(
    numbers: Numbers, files: tuple[Path, Path], tmp_path: Path
) -> None:
    write_numbers(tmp_path, rate=20.0)
    expected = Changes(any=True, numbers=(OTP, SHOP), new_rates=(OTP, SHOP))
    assert [await numbers.refresh() for _ in range(2)] == [expected] * 2
    files[1].write_text("EAAGanother")
    assert await numbers.refresh() == Changes(
        any=True, numbers=(OTP, SHOP), new_rates=(OTP, SHOP), new_tokens=(OTP, SHOP)
    )
    numbers.mark_announced()
    assert await numbers.refresh() == Changes()
    assert [number.rate_per_s for number in numbers.by_id.values()] == [20, 20]


async def test_what_was_changed_back_before_it_was_announced_is_no_change(
    numbers: Numbers, heard: Heard, tmp_path: Path
) -> None:
    write_numbers(tmp_path, rate=20.0)
    await numbers.refresh()
    write_numbers(tmp_path, rate=80.0)
    numbers.reread()  # its time and size may be as before
    assert await numbers.refresh() == Changes()
    assert heard.words == [2, 2]


async def test_a_new_number_has_no_new_rate(numbers: Numbers, files: tuple[Path, Path]) -> None:
    numbers_file, token_file = files
    more = f'\n[numbers.5]\nmessages_per_second = 5\naccess_token = {{ file = "{token_file}" }}\n'
    numbers_file.write_text(numbers_file.read_text().replace(NAMES[OTP], "codes") + more)
    assert await numbers.refresh() == Changes(any=True, numbers=(OTP, "5"), new_tokens=("5",))


async def test_when_the_file_was_written_goes_with_what_it_says(numbers: Numbers, files: tuple[Path, Path]) -> None:
    numbers_file, _ = files
    assert numbers.written_us == numbers_file.stat().st_mtime_ns // 1000
    os.utime(numbers_file, ns=(0, 5_000_000))
    assert await numbers.refresh() == Changes()
    assert numbers.written_us == 5000
    numbers_file.write_text("[numbers.x]\n")
    await numbers.refresh()
    assert numbers.written_us == 5000  # it was not understood


async def test_a_bad_file_keeps_the_old_numbers_and_is_said_once(
    numbers: Numbers, heard: Heard, files: tuple[Path, Path]
) -> None:
    files[0].write_text("[numbers.x]\n")
    assert [await numbers.refresh() for _ in range(2)] == [Changes()] * 2
    assert len(numbers.by_id.values()) == 2
    assert len(heard.words) == 1


async def test_reading_leaves_the_process_as_it_was(numbers: Numbers, heard: Heard, files: tuple[Path, Path]) -> None:
    """It has the garbage collector rest, and threads take shorter turns."""
    before = (gc.isenabled(), sys.getswitchinterval())
    for content in ("[numbers.x]\n", files[0].read_text()):
        files[0].write_text(content)
        numbers.reread()
        await numbers.refresh()
        assert (gc.isenabled(), sys.getswitchinterval()) == before
    assert len(heard.words) == 1


async def test_a_number_that_is_taken_out_is_no_longer_ours(
    numbers: Numbers, heard: Heard, files: tuple[Path, Path]
) -> None:
    numbers_file, token_file = files
    entry = f'name = "{NAMES[OTP]}"\nwaba_id = "102290129340398"\naccess_token = {{ file = "{token_file}" }}\n'
    numbers_file.write_text(f"[numbers.{OTP}]\n{entry}")
    assert await numbers.refresh() == Changes(any=True)
    assert SHOP not in numbers.by_id
    assert (list(numbers.credentials()), heard.words) == ([OTP], [1])

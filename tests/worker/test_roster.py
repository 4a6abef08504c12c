"""The numbers a process may send from follow the files, and a bad file changes nothing."""

import os
from pathlib import Path

import pytest

from dispatcher.errors import SettingsError
from dispatcher.roster import Changes, Roster
from dispatcher.settings import NumbersFile
from tests.cell import OTP, SHOP, write_numbers


class Heard:
    def __init__(self) -> None:
        self.words: list[object] = []

    def reloaded(self, numbers: int) -> None:
        self.words.append(numbers)

    def misread(self, exc: SettingsError) -> None:
        self.words.append(exc.problems)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return write_numbers(tmp_path)


def test_a_new_token_is_noticed_and_named(files: tuple[Path, Path]) -> None:
    numbers_file, token_file = files
    roster = Roster(NumbersFile.load(numbers_file), Heard())
    assert roster.refresh() == Changes()
    token_file.write_text("EAAGanother")
    assert roster.refresh() == Changes(any=True, new_tokens=(OTP, SHOP))
    number = roster.get(OTP)
    assert number is not None
    assert number.token.get_secret_value() == "EAAGanother"


def test_after_a_401_the_files_are_read_though_they_seem_unchanged(files: tuple[Path, Path]) -> None:
    numbers_file, token_file = files
    roster = Roster(NumbersFile.load(numbers_file), Heard())
    before = token_file.stat()
    token_file.write_text(token_file.read_text()[::-1])
    os.utime(token_file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert roster.refresh() == Changes()
    roster.distrust()
    assert roster.refresh() == Changes(any=True, new_tokens=(OTP, SHOP))


def test_a_bad_file_keeps_the_old_numbers_and_is_said_once(files: tuple[Path, Path]) -> None:
    numbers_file, _ = files
    heard = Heard()
    roster = Roster(NumbersFile.load(numbers_file), heard)
    numbers_file.write_text("[numbers.x]\n")
    assert roster.refresh() == Changes()
    assert roster.refresh() == Changes()
    assert len(roster.all()) == 2
    assert len(heard.words) == 1


def test_a_number_that_is_taken_out_is_no_longer_ours(files: tuple[Path, Path]) -> None:
    numbers_file, token_file = files
    heard = Heard()
    roster = Roster(NumbersFile.load(numbers_file), heard)
    numbers_file.write_text(f'[numbers.{OTP}]\naccess_token = {{ file = "{token_file}" }}\n')
    assert roster.refresh() == Changes(any=True)
    assert roster.get(SHOP) is None
    assert (list(roster.credentials()), heard.words) == ([OTP], [1])

"""The numbers file: read whole or not at all, and never shown with a token in it."""

import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from dispatcher.errors import SettingsError
from dispatcher.settings import Number, NumbersFile

EXAMPLE = Path(__file__).parents[2] / "numbers.example.toml"
ID = "106540352242922"
TOKEN = "EAAG" + "x1Y2" * 40


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "numbers.toml"


def load(path: Path, content: str, **environ: str) -> NumbersFile:
    path.write_text(content)
    return NumbersFile.load(path, environ=environ)


def problems(path: Path, content: str, **environ: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as raised:
        load(path, content, **environ)
    assert TOKEN not in str(raised.value)
    assert all(problem.startswith(f"{path}: ") for problem in raised.value.problems)
    return tuple(problem.removeprefix(f"{path}: ") for problem in raised.value.problems)


def test_only_a_token_is_required(path: Path) -> None:
    file = load(path, f'[numbers.{ID}]\naccess_token = {{ env = "TOKEN" }}\n', TOKEN=TOKEN)
    assert file.numbers == {ID: Number(ID, ID, 80.0, None, SecretStr(TOKEN))}


def test_a_number_says_all_about_itself_and_the_defaults_the_rest(path: Path) -> None:
    (path.parent / "secrets").mkdir()
    (path.parent / "secrets" / "token").write_text(f"  {TOKEN}\n")
    file = load(
        path,
        f"""
        [defaults]
        messages_per_second = 1000
        [numbers.{ID}]
        name = "otp-us"
        waba_id = "102290129340398"
        messages_per_second = 0.5
        access_token = {{ file = "secrets/token" }}
        [numbers.2]
        access_token = {{ file = "{path.parent}/secrets/token" }}
        """,
    )
    otp = Number(ID, "otp-us", 0.5, "102290129340398", SecretStr(TOKEN))
    assert file.numbers == {ID: otp, "2": Number("2", "2", 1000.0, None, SecretStr(TOKEN))}


def test_100000_a_second_stands_for_unpaced(path: Path) -> None:
    file = load(path, '[numbers.1]\naccess_token = { env = "T" }\nmessages_per_second = 100000', T=TOKEN)
    assert file.numbers["1"].rate_per_s == 100_000.0


def test_everything_wrong_is_said_at_once(path: Path) -> None:
    (path.parent / "split").write_text(f"{TOKEN}\n{TOKEN}")
    (path.parent / "empty").write_text("\n")
    content = f"""
        default = 3
        defaults = {{ rate = 80 }}
        [numbers.otp-us]
        acess_token = "{TOKEN}"
        name = "OTP"
        waba_id = 102290129340398
        messages_per_second = inf
        [numbers.2]
        access_token = "{TOKEN}"
        messages_per_second = 100001
        [numbers.3]
        access_token = {{ file = "split" }}
        messages_per_second = 0
        [numbers.4]
        access_token = {{ file = "empty", files = "x" }}
        messages_per_second = true
        [numbers.5]
        access_token = {{ file = "missing" }}
        name = "123"
        [numbers.6]
        access_token = {{ env = "MISSING" }}
        name = "same"
        [numbers.7]
        access_token = {{ env = "EMPTY" }}
        name = "same"
        [numbers.8]
        access_token = {{ env = "DISPATCHER_TOKEN" }}
        messages_per_second = "80"
        [numbers.9]
        access_token = {{ env = "{TOKEN}" }}
        [numbers.10]
        access_token = {{ env = "T", file = "f" }}
        [numbers.11]
        access_token = {{ env = "BINARY" }}
        [numbers.12]
        access_token = {{ file = "empty" }}
        """
    rate = "give a number above 0, at most 100000 (which stands for no limit)"
    how = 'give { file = "…" } or { env = "…" }, never the token itself'
    what = "what was given (not shown) is wrong"
    assert problems(path, content, EMPTY="", BINARY="EAAG\x00") == (
        "default: unknown; did you mean defaults?",
        "defaults.rate: unknown",
        "numbers.otp-us: not a phone number id, which is 1 to 32 digits; a name goes into the field name",
        "numbers.otp-us.name: 'OTP' is wrong; give 1 to 64 of a-z, 0-9, - and _, not only digits",
        "numbers.otp-us.waba_id: 102290129340398 is wrong; "
        'give the id of a WhatsApp Business Account, which is digits in quotes ("102290129340398")',
        f"numbers.otp-us.messages_per_second: inf is wrong; {rate}",
        f"numbers.otp-us.access_token: missing; {how}",
        "numbers.otp-us.acess_token: unknown; did you mean numbers.otp-us.access_token?",
        f"numbers.2.messages_per_second: 100001 is wrong; {rate}",
        f"numbers.2.access_token: {what}; {how}",
        f"numbers.3.messages_per_second: 0 is wrong; {rate}",
        "numbers.3.access_token: the token in file 'split' (not shown) has a space, a line break "
        "or a character no token has",
        f"numbers.4.messages_per_second: True is wrong; {rate}",
        f"numbers.4.access_token: {what}; {how}",
        "numbers.5.name: '123' is wrong; give 1 to 64 of a-z, 0-9, - and _, not only digits",
        "numbers.5.access_token: file 'missing' cannot be read (No such file or directory)",
        "numbers.6.access_token: env 'MISSING' is not set",
        "numbers.7.access_token: the token in env 'EMPTY' is empty",
        f"numbers.8.messages_per_second: '80' is wrong; {rate}",
        "numbers.8.access_token: env 'DISPATCHER_TOKEN' would be refused as an unknown setting; give it another prefix",
        "numbers.9.access_token: env what was given (not shown) is not set",
        f"numbers.10.access_token: {what}; {how}",
        "numbers.11.access_token: the token in env 'BINARY' (not shown) has a space, a line break "
        "or a character no token has",
        "numbers.12.access_token: the token in file 'empty' is empty",
        "numbers: 6, 7 have the same name 'same'; give each its own",
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "numbers: missing; give [numbers.<phone number id>] with an access_token"),
        ("numbers = 3", "numbers: 3 is wrong; give [numbers.<phone number id>] with an access_token"),
        ("[numbers]\n1 = 3", "numbers.1: must be a table of fields"),
        ("[numbers.1", "is not valid TOML: Expected ']' at the end of a table declaration (at end of document)"),
    ],
)
def test_a_file_that_is_something_else_is_refused(path: Path, content: str, problem: str) -> None:
    assert problems(path, content)[0] == problem


def test_a_missing_file_says_where_an_example_is(path: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        NumbersFile.load(path)
    assert str(raised.value) == (
        f"{path}: cannot be read (No such file or directory); "
        "numbers.example.toml shows one, DISPATCHER_NUMBERS_FILE says where it is"
    )
    path.write_bytes(b"\xff")
    with pytest.raises(SettingsError) as raised:
        NumbersFile.load(path)
    assert str(raised.value) == (
        f"{path}: cannot be read (it is not UTF-8 text); "
        "numbers.example.toml shows one, DISPATCHER_NUMBERS_FILE says where it is"
    )


def test_the_example_is_in_order() -> None:
    file = NumbersFile.load(EXAMPLE, environ={}, with_tokens=False)
    nothing = SecretStr("")
    assert file.numbers == {
        ID: Number(ID, "otp-us", 80.0, "102290129340398", nothing),
        "108888888888888": Number("108888888888888", "campaigns-us", 1000.0, None, nothing),
    }
    assert file.numbers[ID].token_fingerprint == ""
    assert len(EXAMPLE.read_text().splitlines()) <= 25


def test_tokens_show_nowhere_and_their_fingerprints_tell_them_apart(path: Path) -> None:
    numbers = load(
        path,
        '[numbers.1]\naccess_token = { env = "A" }\n[numbers.2]\naccess_token = { env = "B" }\n'
        '[numbers.3]\naccess_token = { env = "A" }\n',
        A=TOKEN,
        B=TOKEN + "2",
    ).numbers
    assert TOKEN not in f"{numbers} {numbers['1']!r} {numbers['1']}"
    fingerprints = [number.token_fingerprint for number in numbers.values()]
    assert fingerprints[0] == fingerprints[2] != fingerprints[1]
    assert all(len(fingerprint) == 16 and int(fingerprint, 16) for fingerprint in fingerprints)


@pytest.fixture
def file(path: Path) -> NumbersFile:
    (path.parent / "token").write_text("old")
    return load(path, f'[numbers.{ID}]\naccess_token = {{ file = "token" }}\n')


def touched(path: Path, content: str) -> None:
    """Written anew, with a time of its own however coarse the file system's clock is."""
    before = path.stat().st_mtime_ns
    path.write_text(content)
    os.utime(path, ns=(before + 1_000_000, before + 1_000_000))


def test_nothing_has_changed_right_after_reading(file: NumbersFile) -> None:
    assert not file.changed()


def test_a_changed_token_is_seen_and_read(file: NumbersFile, path: Path) -> None:
    touched(path.parent / "token", "new")
    assert file.changed()
    assert file.reload()[ID].token == SecretStr("new")
    assert file.numbers[ID].token == SecretStr("new")
    assert not file.changed()


def test_a_secret_behind_a_link_is_seen_to_change(path: Path) -> None:
    """Kubernetes swaps a link and leaves size and, possibly, time as they were."""
    for name in ("first", "second"):
        (path.parent / name).write_text(f"{name:6}")
        os.utime(path.parent / name, ns=(1, 1))
    (path.parent / "token").symlink_to("first")
    file = load(path, f'[numbers.{ID}]\naccess_token = {{ file = "token" }}\n')
    (path.parent / "link").symlink_to("second")
    (path.parent / "link").replace(path.parent / "token")
    assert file.changed()
    assert file.reload()[ID].token == SecretStr("second")


def test_a_bad_file_keeps_the_old_numbers_and_is_reported_once(file: NumbersFile, path: Path) -> None:
    before = file.numbers
    touched(path, "[numbers")
    assert file.changed()
    with pytest.raises(SettingsError, match="is not valid TOML"):
        file.reload()
    assert file.numbers is before
    assert not file.changed()


def test_a_token_that_was_missing_is_seen_when_it_comes(file: NumbersFile, path: Path) -> None:
    (path.parent / "token").unlink()
    assert file.changed()
    with pytest.raises(SettingsError, match=r"file 'token' cannot be read \(No such file or directory\)$"):
        file.reload()
    assert not file.changed()
    (path.parent / "token").write_text("back")
    assert file.changed()
    assert file.reload()[ID].token == SecretStr("back")


def test_without_tokens_their_files_are_left_alone(path: Path) -> None:
    path.write_text(f'[numbers.{ID}]\naccess_token = {{ file = "not-here" }}\n')
    file = NumbersFile.load(path, with_tokens=False)
    assert file.numbers == {ID: Number(ID, ID, 80.0, None, SecretStr(""))}

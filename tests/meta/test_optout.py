from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher import errors
from dispatcher.meta.optout import DEFAULTS, Words, bare, preference
from dispatcher.meta.webhook import Inbound, Preference

WORDS = Words.default()


def inbound(text: str, sender: str = "+16505551234") -> Inbound:
    return Inbound("wamid.1", sender, "106540352242922", "419561257915477", 1750091045, "text", text, "{}")


def wish(text: str, words: Words = WORDS) -> bool | None:
    found = preference(inbound(text), words)
    return None if found is None else found.stops


def test_a_word_is_a_wish_about_marketing() -> None:
    assert preference(inbound("Stop!"), WORDS) == Preference(
        recipient="+16505551234",
        number="106540352242922",
        waba="419561257915477",
        category="marketing",
        stops=True,
        at_s=1750091045,
        reason="wrote stop",
    )


@pytest.mark.parametrize("language", DEFAULTS)
def test_every_default_word_is_found_in_capitals_too(language: str) -> None:
    for direction, words in DEFAULTS[language].items():
        for word in words:
            assert wish(f"  {word.upper()}. ") is (direction == "stop"), word


@pytest.mark.parametrize(
    "text",
    [
        "STOP", "stop", "\n\tStop \n", "¡ALTO!", "“stop”", "STOP 🛑", "🛑️STOP🛑️", "👍🏽 stop", "👨‍👩‍👧 stop", "\uff33\uff34\uff2f\uff30", "*stop*", "_stop_",
        "stop...", "st\u200bop", "\ufeffstop", "arre\u0302t", "ARRÊT", "opt-out", "Opt   Out", "बंद करें।", "إيقاف؟", "Unsubscribe",
        "STOP\u0000",
    ],
)  # fmt: skip
def test_dress_does_not_matter(text: str) -> None:
    assert wish(text) is True


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "🛑", "!!!", "please stop", "stop it", "don't stop", "Where is the bus stop?", "stopp den Bus", "nonstop",
        "s.t.o.p", "s t o p", "stop stop", "stop" * 1000, "stop" + " " * 1000, "cancel", "Cancel", "end", "no", "0", "\ud800", "baja california",
    ],
)  # fmt: skip
def test_a_word_in_a_sentence_is_none(text: str) -> None:
    assert wish(text) is None


def test_nobodys_wish_is_none() -> None:
    assert preference(inbound("stop", sender=""), WORDS) is None


def test_a_file_replaces_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "words.toml"
    path.write_text('[nl]\nstop = ["Afmelden!"]\n[da]\nstart = ["Tilmeld"]\n')
    words = Words.load(path)
    assert [wish(text, words) for text in ("afmelden", "TILMELD", "stop")] == [True, False, None]


def test_an_empty_file_switches_words_off(tmp_path: Path) -> None:
    path = tmp_path / "words.toml"
    path.write_text("# none\n")
    assert Words.load(path) == Words()
    assert wish("stop", Words.load(path)) is None


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    path = tmp_path / "words.toml"
    path.write_text(
        'title = "words"\n[en]\nstop = ["STOP", "!!", 5, ""]\nstart = "START"\nend = []\n[nl]\nstart = ["stop.", "ja"]\n'
    )
    right = 'write [en], then stop = ["STOP", …] and start = ["START", …]'
    no_text = "is no text of 1 to 100 characters with a letter or digit"
    with pytest.raises(errors.SettingsError) as caught:
        Words.load(path)
    assert caught.value.problems == (
        f"{path}: title is no language's table: {right}",
        f"{path}: en.end is unknown: {right}",
        f"{path}: en.stop: '!!' {no_text}",
        f"{path}: en.stop: '5' {no_text}",
        f"{path}: en.stop: '' {no_text}",
        f"{path}: en.start must be a list: {right}",
        f"{path}: nl.start: 'stop.' both stops and starts",
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "cannot be read: No such file or directory"), (b"[en", "is no TOML: "), (b"\xff", "is no TOML: ")],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "words.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(errors.SettingsError) as caught:
        Words.load(path)
    assert caught.value.problems[0].startswith(f"{path} {problem}")


@given(st.text())
def test_any_text_is_answered(text: str) -> None:
    assert bare(f" {text}\n") == bare(text)
    assert preference(inbound(text), WORDS) is None or bare(text) in WORDS.stops

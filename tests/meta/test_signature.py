import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.meta.webhook import is_signed

BODY, SECRET, OTHER = b'{"entry":[]}', b"app secret", b"new app secret"


def header(body: bytes = BODY, secret: bytes = SECRET, digest: str = "sha256") -> str:
    return f"{digest}={hmac.new(secret, body, digest).hexdigest()}"


def test_what_a_secret_signed_is_signed() -> None:
    assert is_signed(BODY, header(), [SECRET])


def test_a_signature_made_elsewhere_is_taken() -> None:
    """Test case 2 of RFC 4231."""
    known = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert is_signed(b"what do ya want for nothing?", known, [b"Jefe"])


@pytest.mark.parametrize("place", [0, 1, 2])
def test_any_of_the_secrets_will_do(place: int) -> None:
    secrets = [b"a", b"b"]
    secrets.insert(place, SECRET)
    assert is_signed(BODY, header(), secrets)


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "sha256=",
        header()[:-1],
        header() + "0",
        header() + "\n",
        " " + header(),
        header().upper(),
        "sha256=" + header()[7:].upper(),
        "SHA256=" + header()[7:],
        header()[7:],
        header(digest="sha1"),
        header(digest="sha512"),
        "sha1=" + header()[7:],
        header(secret=OTHER),
        header(BODY + b" "),
        header().replace("sha256=", "sha256=\N{FULLWIDTH DIGIT ONE}"),
        "sha256=" + "é" * 64,
        "sha256=" + "\N{ARABIC-INDIC DIGIT ONE}" * 64,
        "\ud800",
        f"{header()}, {header()}",
    ],
)
def test_anything_else_is_not(given: str | None) -> None:
    assert not is_signed(BODY, given, [SECRET])


def test_another_body_is_not() -> None:
    assert not is_signed(BODY + b" ", header(), [SECRET])


@pytest.mark.parametrize("secrets", [[], [b""], [b"", b""]])
def test_without_a_secret_nothing_is_signed(secrets: list[bytes]) -> None:
    assert not is_signed(BODY, header(secret=b""), secrets)


@given(st.binary(), st.none() | st.text(), st.lists(st.binary()))
def test_any_header_is_answered(body: bytes, given: str | None, secrets: list[bytes]) -> None:
    assert is_signed(body, given, secrets) is False

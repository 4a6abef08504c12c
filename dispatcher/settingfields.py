"""What settings are made of: how one is described, which texts are URLs, and values that come from files instead.

It knows no setting by name; `settings` does.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from dispatcher.environment import PREFIX

_SEPARATORS = re.compile(r"[,\s]+")


def setting(default: Any, meaning: str, right: str, **limits: Any) -> Any:
    """Describe a setting; `right` completes "give …" in its error."""
    return Field(default, description=meaning, json_schema_extra={"right": right}, **limits)


def seconds(default: float, meaning: str, least: float = 0.001, most: float = 86_400) -> Any:
    """Describe a setting that is a time in seconds."""
    right = f"seconds from {least:.10g} to {most:.10g}"
    return setting(default, meaning, right, ge=least, le=most, allow_inf_nan=False)


def port(default: int, meaning: str, zero: str) -> Any:
    """Describe a setting that is a port; `zero` completes "or 0 for …"."""
    return setting(default, meaning, f"a port from 1 to 65535, or 0 for {zero}", ge=0, le=65_535)


def from_files(given: Mapping[str, Any], names: tuple[str, ...]) -> tuple[dict[str, Any], list[str]]:
    """Put what is in the file of `<name>_file` in the place of each name; also return what is wrong with that."""
    values, problems = dict(given), []
    for name in names:
        path = values.get(f"{name}_file")
        variable = PREFIX + name.upper()
        if path is None:
            continue
        if name in values:
            del values[f"{name}_file"]
            problems.append(f"{variable} and {variable}_FILE are both given; give one of them")
            continue
        try:
            values[name] = SecretStr(Path(path).read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else "it is not text"
            problems.append(f"{variable}_FILE: {str(path)!r} cannot be read ({why}); give the path of a file")
    return values, problems


def _redis_url(given: SecretStr) -> SecretStr:
    url = _url(given.get_secret_value(), {"redis", "rediss", "unix"})
    if url.scheme == "unix":
        is_whole = bool(url.path)
    else:
        is_whole = bool(url.hostname) and re.fullmatch(r"(?:/\d*)?", url.path) is not None
    if not is_whole:
        raise ValueError("no server in it, or more than a database number behind it")
    return given


def _graph_url(given: str) -> str:
    url = _url(given, {"http", "https"})
    if not url.hostname or url.username or url.query or url.fragment:
        raise ValueError("more or less than a server")
    return given.rstrip("/")


def _forward_urls(given: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    for one in given:
        url = _url(one.get_secret_value(), {"http", "https"})
        if not url.hostname or url.fragment:
            raise ValueError("no host in it, or more than a request could carry")
    return given


def _url(given: str, schemes: set[str]) -> SplitResult:
    url = urlsplit(given)
    if url.scheme not in schemes or url.port == 0:  # reading a port that is none raises
        raise ValueError("not such a URL")
    return url


def _split(given: Any) -> Any:
    """Split a text at commas and white space; each part stands once."""
    text = given.get_secret_value() if isinstance(given, SecretStr) else given
    if not isinstance(text, str):
        return given
    return tuple(dict.fromkeys(part for part in _SEPARATORS.split(text) if part))


def _printable(given: SecretStr) -> SecretStr:
    if re.fullmatch(r"[!-~]+", given.get_secret_value()) is None:
        raise ValueError("empty, or with white space")
    return given


RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
GraphUrl = Annotated[str, AfterValidator(_graph_url)]
Secret = Annotated[SecretStr, AfterValidator(_printable)]
Secrets = Annotated[tuple[Secret, ...], BeforeValidator(_split)]
ForwardUrls = Annotated[tuple[SecretStr, ...], BeforeValidator(_split), AfterValidator(_forward_urls)]

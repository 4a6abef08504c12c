"""How a field is described and what people are told about a wrong value, for settings and the numbers file alike.

It knows no field by name. Values that are or may be secrets are never repeated.
"""

import difflib
from collections.abc import Callable
from typing import Any, Final

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

SHOWN_CHARACTERS_MAX: Final = 80
"""Access tokens are longer than that."""
NOT_SHOWN: Final = "what was given (not shown)"
_OWN_WORDS: Final = "own words"


def described(default: Any, meaning: str, right: str, *, is_secret: bool = False, **limits: Any) -> Any:
    """Describe a field; `right` completes "give …" in its errors. A secret's value is shown nowhere."""
    return Field(default, description=meaning, repr=not is_secret, json_schema_extra={"right": right}, **limits)


def right_for(model: type[BaseModel], name: str) -> str:
    """Return what would be right for that field."""
    extra = model.model_fields[name].json_schema_extra
    return str(extra["right"]) if isinstance(extra, dict) else ""


def problem(text: str) -> PydanticCustomError:
    """Make an error for a validator to raise, which says what is wrong and what would be right in its own words."""
    return PydanticCustomError(_OWN_WORDS, "{text}", {"text": text})


def explained(exc: ValidationError, model: type[BaseModel], spelled: Callable[[str], str]) -> list[str]:
    """Return one sentence for each wrong field of a flat model; `spelled` writes a field's name as people do."""
    found = exc.errors(include_url=False)
    names = [str(error["loc"][0]) if error["loc"] else "" for error in found]
    texts = [_explanation(error, name, model, spelled) for error, name in zip(found, names, strict=True)]
    return list(dict.fromkeys(f"{spelled(name)}: {text}" for name, text in zip(names, texts, strict=True)))


def _explanation(error: ErrorDetails, name: str, model: type[BaseModel], spelled: Callable[[str], str]) -> str:
    if error["type"] == _OWN_WORDS:
        return error["msg"]
    if not name:
        return "must be a table of fields"
    if name not in model.model_fields:
        near = difflib.get_close_matches(name, model.model_fields, n=1)
        return f"unknown; did you mean {spelled(near[0])}?" if near else "unknown"
    given = shown(error["input"]) if model.model_fields[name].repr else NOT_SHOWN
    return f"{'missing' if error['input'] is None else f'{given} is wrong'}; give {right_for(model, name)}"


def shown(given: object) -> str:
    """Repeat what was given, unless it may be a secret: a URL with a password, or long and not a path."""
    text = repr(given)
    return text if "@" not in text and (len(text) <= SHOWN_CHARACTERS_MAX or "/" in text) else NOT_SHOWN


def why_unreadable(exc: OSError | UnicodeDecodeError) -> str:
    """Say why a file could not be read."""
    return exc.strerror or "unknown trouble" if isinstance(exc, OSError) else "it is not UTF-8 text"

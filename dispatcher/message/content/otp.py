"""A one-time password: an authentication template that shows a code and has a button that copies it."""

from dispatcher.message.content.components import UrlButton
from dispatcher.message.content.problem import ContentError, Problem
from dispatcher.message.content.shape import wrong_count
from dispatcher.message.content.template import Template

CODE_CHARACTERS_MAX = 15


class Otp(Template):
    """A code in the body and the button of an authentication template. Errors never repeat the code.

    Meta sends no such template to a user id.

    Raises:
        ContentError: the code is empty, has white space in it, or is longer than Meta takes.
    """

    def __init__(self, code: str, *, template: str, language: str, reply_to: str | None = None) -> None:
        if reason := _wrong(code):
            raise ContentError((Problem("code", reason),))
        super().__init__(template, language, body=[code], buttons=[UrlButton(code)], reply_to=reply_to)


def _wrong(code: object) -> str | None:
    """Return what is wrong with a code; None if nothing is."""
    if not isinstance(code, str):
        return f"must be a string of 1 to {CODE_CHARACTERS_MAX} characters"
    if any(character.isspace() for character in code):
        return "must have no white space"
    return wrong_count(len(code), CODE_CHARACTERS_MAX, "characters", least=1)

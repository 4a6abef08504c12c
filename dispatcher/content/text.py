"""The kind `text`: a body, and whether its first link gets a preview."""

from dispatcher.content.problem import Object, Problem, given_in, shown

BODY_CHARACTERS_MAX = 4096
"""Meta's limit. Meta names no unit: Unicode code points are counted, the looser reading beside UTF-16."""


def check_text(text: Object, at: str, found: list[Problem]) -> None:
    """Add to `found` what Meta would refuse in a `text` object that lies at the path `at`."""
    body = text.get("body")
    if not isinstance(body, str):
        reason = f"must be a string of 1 to {BODY_CHARACTERS_MAX} characters, {given_in(text, 'body')}"
        found.append(Problem(f"{at}.body", reason))
    elif not 1 <= len(body) <= BODY_CHARACTERS_MAX:
        found.append(Problem(f"{at}.body", f"must have 1 to {BODY_CHARACTERS_MAX} characters, given {len(body)}"))
    if not isinstance(text.get("preview_url", False), bool):
        found.append(Problem(f"{at}.preview_url", f"must be true or false, given {shown(text['preview_url'])}"))

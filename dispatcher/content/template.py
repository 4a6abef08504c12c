"""The kind `template`: a name, a language, and what fills its places.

Only what is wrong for every template is checked: the template itself, and so the number and types of its
parameters, is known to Meta alone. Components and parameters of unknown types pass.
"""

from collections.abc import Iterator

from dispatcher.content.problem import Object, Problem, given_in, shown

NAME_CHARACTERS_MAX = 512
"""Meta's limit for the name of a template."""


def check_template(template: Object, at: str, found: list[Problem]) -> None:
    """Add to `found` what Meta would refuse in a `template` object that lies at the path `at`."""
    name = template.get("name")
    if not isinstance(name, str):
        reason = f"must be a string of 1 to {NAME_CHARACTERS_MAX} characters, {given_in(template, 'name')}"
        found.append(Problem(f"{at}.name", reason))
    elif not 1 <= len(name) <= NAME_CHARACTERS_MAX:
        found.append(Problem(f"{at}.name", f"must have 1 to {NAME_CHARACTERS_MAX} characters, given {len(name)}"))
    _check_language(template, f"{at}.language", found)
    for path, component in _objects(template, "components", at, found):
        _check_component(component, path, found)


def _check_language(template: Object, at: str, found: list[Problem]) -> None:
    language = template.get("language")
    if not isinstance(language, dict):
        given = given_in(template, "language")
        found.append(Problem(at, f'must be an object such as {{"code": "en_US"}}, {given}'))
    elif not (language.get("code") and isinstance(language["code"], str)):
        found.append(Problem(f"{at}.code", f'must be a language such as "en_US", {given_in(language, "code")}'))


def _check_component(component: Object, at: str, found: list[Problem]) -> None:
    _check_type(component, at, found)
    # Meta's own examples give a button's index as text and as number.
    index = component.get("index", 0)
    if not isinstance(index, str | int) or isinstance(index, bool):
        found.append(Problem(f"{at}.index", f"must be a string or an integer, given {shown(index)}"))
    for path, parameter in _objects(component, "parameters", at, found):
        _check_type(parameter, path, found)
        # One of Meta's own examples fills the text of a quick reply with true and false.
        if parameter.get("type") == "text" and not isinstance(parameter.get("text"), str | bool):
            found.append(Problem(f"{path}.text", f"must be a string, {given_in(parameter, 'text')}"))


def _check_type(item: Object, at: str, found: list[Problem]) -> None:
    if not isinstance(item.get("type"), str):
        found.append(Problem(f"{at}.type", f"must be a string, {given_in(item, 'type')}"))


def _objects(holder: Object, name: str, at: str, found: list[Problem]) -> Iterator[tuple[str, Object]]:
    """Yield path and item of a list of objects that may be absent; what is none goes to `found`."""
    items = holder.get(name, [])
    if not isinstance(items, list):
        found.append(Problem(f"{at}.{name}", f"must be a list of objects, given {shown(items)}"))
        return
    for index, item in enumerate(items):
        path = f"{at}.{name}[{index}]"
        if isinstance(item, dict):
            yield path, item
        else:
            found.append(Problem(path, f"must be an object, given {shown(item)}"))

"""The one way a body is found wrong, and the small checks that find it; knows no kind of message."""

from typing import TypeGuard

INVALID = 100
MISSING_PARAMETER = 131008
BAD_VALUE = 131009


class Malformed(Exception):  # noqa: N818 - it is the request that is malformed, the simulator makes no error
    """A body that Meta would refuse, with Graph's code for it."""

    def __init__(self, code: int, details: str) -> None:
        super().__init__(code, details)
        self.code = code
        self.details = details


def missing(name: str) -> Malformed:
    """A required parameter is not there."""
    return Malformed(MISSING_PARAMETER, f"Required parameter {name} is missing")


def bad(name: str, wanted: str) -> Malformed:
    """A parameter is there, but not what it must be."""
    return Malformed(BAD_VALUE, f"Parameter {name} is not valid: {wanted}")


def is_object(value: object) -> TypeGuard[dict[str, object]]:
    """Whether it is a JSON object."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[object]]:
    """Whether it is a JSON array."""
    return isinstance(value, list)


def required(parent: dict[str, object], name: str, path: str) -> object:
    """The value of `name`, which must be there and not null; `path` names it in the refusal."""
    value = parent.get(name)
    if value is None:
        raise missing(path)
    return value


def required_object(parent: dict[str, object], name: str, path: str) -> dict[str, object]:
    """The JSON object called `name`, which must be there."""
    value = required(parent, name, path)
    if not is_object(value):
        raise bad(path, "an object")
    return value


def required_text(parent: dict[str, object], name: str, path: str, longest: int | None = None) -> str:
    """The string called `name`, which must be there and not empty."""
    value = required(parent, name, path)
    if value == "":
        raise missing(path)
    if not isinstance(value, str):
        raise bad(path, "a string")
    if longest is not None and len(value) > longest:
        raise bad(path, f"at most {longest} characters")
    return value


def optional_text(parent: dict[str, object], name: str, path: str, longest: int | None = None) -> None:
    """The string called `name` may be absent, but is not empty if it is there."""
    if name in parent:
        required_text(parent, name, path, longest)


def items(parent: dict[str, object], name: str, path: str, longest: int | None = None) -> list[dict[str, object]]:
    """The array of objects called `name`, none if it is absent."""
    value = parent.get(name, [])
    if not is_array(value):
        raise bad(path, "an array")
    if longest is not None and len(value) > longest:
        raise bad(path, f"at most {longest} items")
    objects = [item for item in value if is_object(item)]
    if len(objects) != len(value):
        raise bad(path, "an array of objects")
    return objects

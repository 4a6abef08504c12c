"""The bodies of control orders, checked field by field; knows no order."""

from collections.abc import Mapping
from typing import Any


def fields(order: Any, known: Mapping[str, Any], required: tuple[str, ...] = ()) -> dict[str, Any]:
    """What an order says, whole numbers made floats where a float is wanted.

    Raises:
        TypeError: It is no object, or a value has the wrong type.
        ValueError: A field is not known, or missing.
    """
    if not isinstance(order, dict):
        raise TypeError("an object is wanted")
    missing = [name for name in required if name not in order]
    if missing:
        raise ValueError(f"missing: {', '.join(missing)}")
    values: dict[str, Any] = {}
    for name, value in order.items():
        if name not in known:
            raise ValueError(f"unknown field {name!r}; known are {sorted(known)}")
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        values[name] = float(value) if is_whole and not isinstance(value, known[name]) else value
        if not isinstance(values[name], known[name]):
            raise TypeError(f"{name} is {known[name]}, not {value!r}")
    return values

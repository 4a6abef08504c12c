"""Checks a dashboard against Grafana's schema, as the models of the grafana-foundation-sdk have it, strictly.

The SDK's models are generated from Grafana's own kinds (CUE). Reading JSON with them neither checks types nor minds
what it does not know, so this compares what comes out again with what went in, and every value with its annotation.
"""

import enum
import json
import types
import typing
from collections.abc import Iterator
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

# Grafana's schema leaves annotations open for the fields of data sources; these are those of Prometheus.
_OF_THE_DATA_SOURCE = ("titleFormat", "textFormat", "step")


def problems(board: dict[str, Any]) -> list[str]:
    """Return what Grafana's schema does not allow."""
    register_default_plugins()
    known = json.loads(json.dumps(board))
    for mark in known["annotations"]["list"]:
        for name in _OF_THE_DATA_SOURCE:
            assert isinstance(mark.pop(name), str)
    return list(_wrong(known, Dashboard, "dashboard"))


def _wrong(value: Any, wanted: Any, where: str) -> Iterator[str]:
    """Compare a value with a type annotation."""
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if isinstance(value, dict) and isinstance(wanted, type) and _is_of_the_sdk(wanted):
        # what is read may leave parts of it unread
        read = wanted.from_json(value)  # type: ignore[attr-defined]  # all models have it, but no class in common
        yield from _wrong_fields(read, where)
        yield from _different(value, json.loads(json.dumps(read, cls=JSONEncoder)), where)
    elif _is_model(value):
        yield from _wrong_fields(value, where)
        wanted_class = wanted if isinstance(wanted, type) else object
        if wanted_class is not object and not isinstance(value, wanted_class):
            yield f"{where} is a {type(value).__name__}, not {wanted}"
    elif origin in {typing.Union, types.UnionType}:
        lists = [argument for argument in arguments if typing.get_origin(argument) is list]
        if lists and isinstance(value, list):
            yield from _wrong(value, lists[0], where)
        elif all(list(_wrong(value, argument, where)) for argument in arguments):
            yield f"{where} is {value!r}, not {wanted}"
    elif origin is list:
        yield from _wrong_items(value, arguments[0], where)
    elif not _fits(value, wanted, origin or wanted, arguments):
        yield f"{where} is {value!r}, not {wanted}"


def _wrong_items(value: Any, wanted: Any, where: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{where} is {value!r}, not a list"
        return
    for place, item in enumerate(value):
        yield from _wrong(item, wanted, f"{where}[{place}]")


def _wrong_fields(value: Any, where: str) -> Iterator[str]:
    hints = typing.get_type_hints(type(value))
    for name, given in vars(value).items():
        yield from _wrong(given, hints[name], f"{where}.{name}")


def _fits(value: Any, wanted: Any, plain: Any, arguments: tuple[Any, ...]) -> bool:
    if plain is typing.Literal:
        return value in arguments
    if wanted in {object, Any}:
        return True
    if isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        return value in {member.value for member in wanted}
    if isinstance(value, bool):
        return plain is bool
    return isinstance(value, (int, float) if plain is float else plain)


def _is_model(value: Any) -> bool:
    return _is_of_the_sdk(type(value)) and not isinstance(value, enum.Enum)


def _is_of_the_sdk(one: type) -> bool:
    return one.__module__.startswith("grafana_foundation_sdk.models.")


def _different(given: Any, again: Any, where: str) -> Iterator[str]:
    """What was given and did not come out again is unknown to the schema."""
    if isinstance(given, dict) and isinstance(again, dict):
        for name, value in given.items():
            if name in again:
                yield from _different(value, again[name], f"{where}.{name}")
            elif value is not None:
                yield f"{where}.{name} is not in the schema"
    elif isinstance(given, list) and isinstance(again, list) and len(given) == len(again):
        for place, (one, other) in enumerate(zip(given, again, strict=True)):
            yield from _different(one, other, f"{where}[{place}]")
    elif given != again:
        yield f"{where} is {given!r}, and was read as {again!r}"

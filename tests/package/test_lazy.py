"""What `import dispatcher` costs: a name is imported when it is first used, and is all the same a name of the package."""

import ast
import importlib
import json
import pickle
import subprocess
import sys
import typing
from pathlib import Path

import dispatcher

HEAVY = ("asyncio", "phonenumbers", "pydantic", "pydantic_core", "redis")


def imported(script: str) -> set[str]:
    """Which packages a fresh interpreter has imported after the script."""
    command = [sys.executable, "-c", f"{script}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout)} | set(json.loads(done.stdout))


def test_the_package_and_its_errors_import_nothing_heavy() -> None:
    for script in ("import dispatcher", "from dispatcher import QueueFull, Refused", "import dispatcher.cli"):
        assert imported(script) & {*HEAVY, "dispatcher.client", "dispatcher.message"} == set(), script


def test_states_and_events_need_neither_redis_nor_pydantic() -> None:
    found = imported("from dispatcher import Category, Event, Incoming, OnUncertain, Priority, State")
    assert found & {*HEAVY, "dispatcher.client"} == set()


def test_messages_and_contents_need_no_redis() -> None:
    assert imported("from dispatcher import Message, Template, Ticket") & {"redis", "dispatcher.client"} == set()


def test_every_public_name_is_there_and_listed() -> None:
    for name in dispatcher.__all__:
        assert getattr(dispatcher, name) is getattr(dispatcher, name)
    assert set(dispatcher.__all__) <= set(dir(dispatcher))
    assert sorted(dispatcher.__all__) == dispatcher.__all__
    namespace: dict[str, object] = {}
    exec("from dispatcher import *", namespace)
    assert set(dispatcher.__all__) <= set(namespace)


def test_checkers_are_told_the_same_names() -> None:
    """What stands under TYPE_CHECKING is what is imported at run time."""
    tree = ast.parse(Path(dispatcher.__file__).read_text())
    told = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dispatcher")
        for alias in node.names
    }
    assert set(told) == set(dispatcher.__all__)
    for name, module in told.items():
        assert getattr(importlib.import_module(str(module)), name) is getattr(dispatcher, name)


def test_a_name_that_is_none_of_ours_is_missing() -> None:
    script = "import dispatcher\ntry:\n    dispatcher.Dispatchr\nexcept AttributeError as exc:\n    assert 'Dispatchr' in str(exc)"
    imported(script)
    assert not hasattr(dispatcher, "Dispatchr")


def test_what_is_imported_late_can_be_pickled_and_read_for_its_types() -> None:
    text = dispatcher.Text(body="Hello")
    assert pickle.loads(pickle.dumps(dispatcher.State.QUEUED)) is dispatcher.State.QUEUED
    assert pickle.loads(pickle.dumps(text)) == text
    assert typing.get_type_hints(dispatcher.Ticket)["state"] == dispatcher.State | None

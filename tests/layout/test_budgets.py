"""The budgets of the layout that a program can count, each with today's figure as its limit.

A limit only falls: whoever brings a figure down lowers its limit here, and none is raised without a reason beside it.

    files at the top      Python files in `dispatcher/` itself
    class names           those that more than one class statement of the package has, nested ones too
    import chain          the longest way from a module along imports between modules of the package, in modules;
                          a circle fails the test
    arrows a module       imports between modules of the package, a pair once, by the number of modules; neither counts
                          what is imported for types only
    file                  lines of the longest Python file
    function              lines from `def` to the last line, without decorators: the 95th percentile (nearest rank), and
                          the longest
    core lines            lines of Python of message, policy, meta, store, worker and client, contents counted apart;
                          blank lines and comments count

Packages, that is `__init__.py` files, are modules. The simulator and the lab count as the rest does.
"""

import ast
import functools
import graphlib
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grimp

import dispatcher

TOP_FILES = 4
DOUBLE_CLASS_NAMES: frozenset[str] = frozenset()
CHAIN = 21
ARROWS = 3.84
FILE_LINES = 432
FUNCTION_LINES_P95 = 19
FUNCTION_LINES = 48
CORE_LINES = 7448
CONTENT_LINES = 1707

ROOT = Path(dispatcher.__file__).parent
CORE = ("message", "policy", "meta", "store", "worker", "client.py")
CONTENT = ROOT / "message" / "content"


@functools.cache
def sources() -> dict[Path, str]:
    return {path: path.read_text() for path in ROOT.rglob("*.py")}


@functools.cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("dispatcher", exclude_type_checking_imports=True, cache_dir=None)


def nodes() -> Iterator[ast.AST]:
    for text in sources().values():
        yield from ast.walk(ast.parse(text))


def lines(*under: Path) -> int:
    return sum(len(text.splitlines()) for path, text in sources().items() if {path, *path.parents} & {*under})


def test_few_files_stand_at_the_top() -> None:
    assert len(list(ROOT.glob("*.py"))) <= TOP_FILES


def test_a_class_name_stands_once() -> None:
    counted = Counter(node.name for node in nodes() if isinstance(node, ast.ClassDef))
    assert {name for name, count in counted.items() if count > 1} <= DOUBLE_CLASS_NAMES


def test_imports_are_shallow_and_few() -> None:
    imports = {module: graph().find_modules_directly_imported_by(module) for module in graph().modules}
    assert longest_chain(imports) <= CHAIN
    assert sum(map(len, imports.values())) / len(imports) <= ARROWS


def test_files_are_not_too_long() -> None:
    longest = max(sources().items(), key=lambda item: len(item[1].splitlines()))
    assert len(longest[1].splitlines()) <= FILE_LINES, longest[0]


def test_functions_are_short() -> None:
    functions = [node for node in nodes() if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    found = sorted(((node.end_lineno or 0) - node.lineno + 1, node.name) for node in functions)
    assert found[math.ceil(len(found) * 0.95) - 1][0] <= FUNCTION_LINES_P95
    assert found[-1][0] <= FUNCTION_LINES, found[-1][1]


def test_the_core_is_small() -> None:
    assert lines(CONTENT) <= CONTENT_LINES
    assert lines(*(ROOT / name for name in CORE)) - lines(CONTENT) <= CORE_LINES


def longest_chain(imports: dict[str, set[str]]) -> int:
    """How many modules the longest chain has; imports in a circle raise `CycleError`."""
    length: dict[str, int] = {}
    for module in graphlib.TopologicalSorter(imports).static_order():
        length[module] = 1 + max((length[each] for each in imports[module]), default=0)
    return max(length.values())

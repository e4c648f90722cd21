"""The source code of the packages as data: modules, their imports, and what they define."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.conftest import ROOT

PACKAGES = ("uel", "sim_bridge", "scenes", "training", "explorer", "configs")


@cache
def modules() -> dict[str, Path]:
    """Dotted name and file of every module, packages included under their own name."""
    names = {}
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            names[".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")] = file
    return names


@cache
def tree_of(file: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(file.read_text(encoding="utf-8"))


def imports_of(name: str) -> set[str]:
    """Modules of this repository that a module imports anywhere, in functions and for type checking too."""
    known, imported = modules(), set()
    for node in ast.walk(tree_of(known[name])):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported |= {
                full if (full := f"{node.module}.{alias.name}") in known else node.module for alias in node.names
            }
    return imported & set(known)


def circles() -> list[list[str]]:
    """Sets of modules that import each other, directly or not: strongly connected components (Tarjan 1972).

    The facades are left out: a package imports its modules lazily, by name.
    """
    graph = {name: imports_of(name) for name, file in modules().items() if file.name != "__init__.py"}
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    components: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in graph[name] & set(graph):
            if other not in index:
                visit(other)
            if other in stack:
                low[name] = min(low[name], low[other])
        if low[name] == index[name]:
            component = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            components.append(component)

    for name in graph:
        if name not in index:
            visit(name)
    return [component for component in components if len(component) > 1]


def definitions(kind: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    """Module name and node of every module-level definition of a kind."""
    for name, file in modules().items():
        for node in tree_of(file).body:
            if isinstance(node, kind):
                yield name, node

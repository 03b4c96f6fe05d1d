"""The package's source as syntax trees; nothing here imports the package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "pluralign"
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Import:
    """One import statement's module (dotted), its line, and whether only the type checker sees it."""

    module: str
    line: int
    types_only: bool


@dataclass(frozen=True, eq=False)
class Module:
    """A file of the package: its path below src/pluralign ("data/record.py") and its tree."""

    path: str
    tree: ast.Module
    text: str

    @property
    def name(self) -> str:
        """Dotted name below the package, e.g. data.record; a folder's __init__ is the folder."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def room(self) -> str:
        """The first part of the name."""
        return self.name.split(".")[0]

    @cached_property
    def all_imports(self) -> tuple[Import, ...]:
        """What `imports` gives; a dozen rules ask for it."""
        return tuple(self._imports())

    def imports(self) -> tuple[Import, ...]:
        """Every import anywhere in the file, inside functions too."""
        return self.all_imports

    def _imports(self) -> Iterator[Import]:
        for node, types_only in _walk(self.tree, False):
            if isinstance(node, ast.Import):
                yield from (Import(alias.name, node.lineno, types_only) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.path}:{node.lineno}: write imports from the package's name"
                for alias in node.names:
                    yield Import(f"{node.module}.{alias.name}", node.lineno, types_only)


def _walk(node: ast.AST, types_only: bool) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        inside = types_only or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test))
        yield child, inside
        yield from _walk(child, inside)


@cache
def modules() -> tuple[Module, ...]:
    """Every Python file of the package."""
    return tuple(_module(path, SOURCE) for path in sorted(SOURCE.rglob("*.py")))


@cache
def files_of_tests() -> tuple[Module, ...]:
    """Every Python file of the tests."""
    return tuple(_module(path, ROOT / "tests") for path in sorted((ROOT / "tests").rglob("*.py")))


def _module(path: Path, root: Path) -> Module:
    text = path.read_text(encoding="utf-8")
    return Module(path.relative_to(root).as_posix(), ast.parse(text, str(path)), text)


@cache
def inside_package() -> dict[str, Module]:
    """The package's modules by dotted name."""
    return {module.name: module for module in modules()}


def own_imports(module: Module) -> Iterator[tuple[str, Import]]:
    """(dotted name below the package, import) of every import of our own modules; names inside modules are cut off."""
    known = inside_package()
    for found in module.imports():
        if not found.module.startswith("pluralign."):
            continue
        name = found.module.removeprefix("pluralign.")
        while name and name not in known:
            name = name.rpartition(".")[0]
        if name:
            yield name, found


def functions(module: Module) -> Iterator[Function]:
    """Every function and method of the file."""
    return (node for node in ast.walk(module.tree) if isinstance(node, Function))

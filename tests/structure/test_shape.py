"""Sizes, names and docstrings: every file small enough to be read at once, every option explained."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from source_tree import Module, files_of_tests, functions, modules

MAX_FILE, MAX_FUNCTION, MAX_NESTING = 300, 60, 3

# What may be larger or deeper, and why.
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}
DEEP_FUNCTIONS = {
    "storage.py:atomic_folder": "a context manager: its four levels are the guards around one yield",
}

_BLOCKS = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.Match, ast.AsyncFor, ast.AsyncWith)
_FORBIDDEN_NAME = re.compile(r"^Base[A-Z]|Manager$|Handler$|Helper$|Utils?$")
_ALLOWED_NAMES = {"BaseTraining": "the training of the lab's base model, not a class to inherit from"}
_OPTION_ROOMS = ("methods", "losses", "steering", "scorers", "training.optim")
_NOT_OPTIONS = (
    "losses.outputs",
    "methods.contract",
    "scorers.contract",
    *(f"steering.{name}" for name in ("contract", "deltas", "head", "surgery")),
)


def test_files_are_short() -> None:
    files = [*modules(), *files_of_tests()]
    long = {module.path: num for module in files if (num := module.text.count("\n")) > MAX_FILE}
    assert long.keys() == LONG_FILES.keys(), f"files over {MAX_FILE} lines: {long}"


def test_functions_are_short() -> None:
    long = {
        f"{module.path}:{function.name}": length
        for module in (*modules(), *files_of_tests())
        for function in functions(module)
        if (length := (function.end_lineno or 0) - function.lineno + 1) > MAX_FUNCTION
    }
    assert long.keys() == LONG_FUNCTIONS.keys(), f"functions over {MAX_FUNCTION} lines: {long}"


def _nesting(statements: list[ast.stmt]) -> int:
    """Blocks inside blocks; an `elif` and the body of an inner function count no deeper."""
    deepest = 0
    for statement in statements:
        if isinstance(statement, _BLOCKS):
            deepest = max(deepest, *(_nesting(block) + step for block, step in _bodies(statement)))
    return deepest


def _bodies(statement: ast.stmt) -> Iterator[tuple[list[ast.stmt], int]]:
    for field in ("body", "orelse", "finalbody"):
        block = getattr(statement, field, [])
        is_elif = (
            field == "orelse" and len(block) == 1 and isinstance(statement, ast.If) and isinstance(block[0], ast.If)
        )
        yield block, 0 if is_elif or not block else 1
    for part in (*getattr(statement, "handlers", []), *getattr(statement, "cases", [])):
        yield part.body, 1


def test_nesting_is_shallow() -> None:
    deep = {
        f"{module.path}:{function.name}"
        for module in modules()
        for function in functions(module)
        if _nesting(function.body) > MAX_NESTING
    }
    assert deep == DEEP_FUNCTIONS.keys(), f"more than {MAX_NESTING} blocks inside one another"


def test_names_say_something() -> None:
    for module in modules():
        assert module.name.split(".")[-1] not in ("utils", "util", "helpers", "misc", "common"), module.path
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef) and node.name not in _ALLOWED_NAMES:
                assert not _FORBIDDEN_NAME.search(node.name), f"{module.path}:{node.lineno}: {node.name}"


def _public(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from _public(node.body, f"{prefix}{node.name}.")


def test_everything_public_has_a_docstring() -> None:
    """The __init__ of a folder may be empty."""
    silent = [module.path for module in modules() if module.text.strip() and not ast.get_docstring(module.tree)]
    silent += [
        f"{module.path}: {name}"
        for module in modules()
        for name, node in _public(module.tree.body)
        if not ast.get_docstring(node)  # type: ignore[arg-type]
    ]
    assert not silent, f"no docstring: {silent}"


def _options(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """(field, the text right after it) of a dataclass's own fields; class variables and private ones are none."""
    for place, statement in enumerate(node.body):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        name, hidden = statement.target.id, "init=False" in ast.unparse(statement)
        if "ClassVar" in ast.unparse(statement.annotation) or name.startswith("_") or hidden:
            continue
        after = node.body[place + 1] if place + 1 < len(node.body) else None
        is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        yield name, str(after.value.value) if is_text else ""  # type: ignore[union-attr]


def _methods(node: ast.ClassDef) -> list[str]:
    return [part.name for part in node.body if isinstance(part, ast.FunctionDef)]


def _silent_options(module: Module) -> Iterator[str]:
    """Fields of public dataclasses that nothing explains."""
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        helper = module.room == "scorers" and "score" not in _methods(node)
        if not helper and any("dataclass" in ast.unparse(mark) for mark in node.decorator_list):
            told = ast.get_docstring(node) or ""
            silent = [name for name, after in _options(node) if not after and f"`{name}`" not in told]
            yield from (f"{module.path}: {node.name}.{name}" for name in silent)


def test_every_option_is_documented() -> None:
    """A field is explained by the text after it, or named in `backticks` in its class' docstring."""
    asked = [
        module
        for module in modules()
        if module.name not in _NOT_OPTIONS and any(f"{module.name}.".startswith(f"{room}.") for room in _OPTION_ROOMS)
    ]
    assert len(asked) > 50
    silent = [field for module in asked for field in _silent_options(module)]
    assert not silent, f"not explained: {silent}"


def _is_plugin(module: Module) -> bool:
    folder, _, leaf = module.name.rpartition(".")
    in_place = folder.split(".")[0] in ("methods", "losses", "scorers", "steering") or folder == "data.readers"
    return in_place and module.name not in _NOT_OPTIONS and leaf not in ("registry", "contract", "prompt")


def test_every_plugin_has_a_test() -> None:
    """Some test names the file, a class of it, or the file's name as people write it: "cmpo"."""
    told = "\n".join(file.text for file in files_of_tests())
    words, quoted = set(re.findall(r"[\w.]+", told)), set(re.findall(r"[\"'](\w+)[\"']", told))
    named = words | {word.rpartition(".")[2] for word in words}

    def is_told(module: Module) -> bool:
        classes = {node.name for node in module.tree.body if isinstance(node, ast.ClassDef)}
        leaf = module.name.rpartition(".")[2]
        return f"pluralign.{module.name}" in words or bool(classes & named) or leaf in quoted

    plugins = [module for module in modules() if _is_plugin(module)]
    assert len(plugins) > 100
    assert [module.path for module in plugins if not is_told(module)] == []

"""Methods and their recipes by name: a method is a file of `methods/`, its recipes are the functions of the file of that
name here.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pluralign.errors import ConfigError
from pluralign.plugins import load_class, module_names

if TYPE_CHECKING:
    from pluralign.methods.contract import Method

NOT_METHODS = {"contract", "steps"}
FACTS = ("paper", "feedback", "condition", "models", "passes")


def method_names() -> list[str]:
    """Ids of the methods, found by file name."""
    return [name for name in module_names("pluralign.methods") if name.split(".")[0] not in NOT_METHODS]


def method_class(name: str) -> Any:
    """A method's class by id or as module:Class. Raises ConfigError naming the known ones."""
    if ":" not in name and name not in method_names():
        raise ConfigError(f"unknown method {name!r}; known are: {', '.join(method_names())} (or module:Class)")
    return load_class(name, "pluralign.methods", __name__=name.title()) if ":" not in name else load_class(name, "")


def recipe_names(method: str) -> list[str]:
    """Recipes of a method: the public functions of its file in `recipes`, or only 'default'."""
    return sorted(_recipes(method)) or ["default"]


def recipe(method: str, name: str = "default") -> Method:
    """The method with every number set. Raises ConfigError naming the recipes there are."""
    found = _recipes(method)
    if name in found:
        return found[name]()
    if name == "default":
        return method_class(method)()
    method_class(method)  # an unknown method is the better thing to say
    raise ConfigError(f"{method} has no recipe {name!r}; there are: {', '.join(recipe_names(method))}")


def _recipes(method: str) -> dict[str, Any]:
    import importlib

    if method not in method_names() or method not in module_names("pluralign.recipes"):
        return {}
    module = importlib.import_module(f"pluralign.recipes.{method}")
    functions = {name: value for name, value in vars(module).items() if not name.startswith("_") and callable(value)}
    return {name: value for name, value in functions.items() if getattr(value, "__module__", "") == module.__name__}


def method_id(method: Method) -> str:
    """The id that `method_class` finds a method by."""
    cls = type(method)
    package, _, file = cls.__module__.rpartition(".")
    return file if package == "pluralign.methods" else f"{cls.__module__}:{cls.__name__}"


def about_method(name: str) -> str:
    """One line on a method, read from its file without importing it."""
    text = ast.get_docstring(_tree(name)) or ""
    return text.splitlines()[0] if text else ""


def facts_of(name: str) -> dict[str, str]:
    """The `Facts` of a method by name (paper, feedback, condition, models, passes), read without importing its file.

    Raises ConfigError where the file has none, or writes them as anything but plain texts.
    """
    calls = [
        node.value
        for node in ast.walk(_tree(name))
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "facts" and isinstance(node.value, ast.Call)
    ]
    try:
        (call,) = calls
        given = dict(zip(FACTS, map(ast.literal_eval, call.args), strict=False))
        return given | {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except ValueError as error:
        raise ConfigError(
            f"methods/{name}.py must say its facts once, in plain texts: Facts({', '.join(FACTS)})"
        ) from error


def _tree(name: str) -> ast.Module:
    from importlib.util import find_spec

    spec = find_spec(f"pluralign.methods.{name}")
    assert spec is not None and spec.origin is not None, name
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))

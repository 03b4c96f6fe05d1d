"""Plug-ins are found by file name, or named `module:Class` by people outside the package."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

from pluralign.errors import ConfigError


def module_names(package: str) -> list[str]:
    """Names of a package's plug-in files, found without importing them (nested folders as 'folder.file')."""
    root = importlib.import_module(package)
    found = []
    for info in pkgutil.iter_modules(root.__path__):
        inner = module_names(f"{package}.{info.name}") if info.ispkg else [""]
        found += [f"{info.name}.{name}" if name else info.name for name in inner]
    return sorted(found)


def load_class(name: str, package: str, **attributes: Any) -> type:
    """The class that a file of `package` (or "module:Class") defines with the given class attributes.

    Raises ConfigError with the known names where there is no such file, or not exactly one such class.
    """
    if ":" in name:
        module_name, _, class_name = name.partition(":")
        return _named_class(module_name, class_name)
    known = {file: f"{package}.{file}" for file in module_names(package)}
    if name not in known:
        raise ConfigError(f"unknown {name!r}; known are: {', '.join(sorted(known))} (or module:Class of your own)")
    module = importlib.import_module(known[name])
    classes = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and value.__module__ == module.__name__
        and all(getattr(value, key, None) == wanted for key, wanted in attributes.items())
    ]
    if len(classes) != 1:
        raise ConfigError(f"{known[name]} must define exactly one class with {attributes}, found {len(classes)}")
    return classes[0]


def _named_class(module_name: str, class_name: str) -> type:
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(f"cannot import {module_name!r}: {error}; is it on the path?") from error
    found = getattr(module, class_name, None)
    if not inspect.isclass(found):
        raise ConfigError(f"{module_name!r} has no class {class_name!r}")
    return found

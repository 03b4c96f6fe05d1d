"""Settings: frozen dataclasses to JSON and back, so that a run can be repeated from its folder."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from pluralign.errors import ConfigError


def to_json(value: Any) -> Any:
    """Plain JSON of a settings dataclass; nested ones carry their class name under "is".

    Raises ConfigError, naming the setting, for a number that is not finite: JSON has none.
    """
    return _plain(value, "")


def _plain(value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        inner = f"{name}." if name else ""
        fields = {f.name: _plain(getattr(value, f.name), inner + f.name) for f in dataclasses.fields(value) if f.init}
        return {"is": type(value).__name__, **fields}
    if isinstance(value, tuple | list):
        return [_plain(item, name) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{name} must be a finite number, got {value}")
    return value


def from_json(kind: Any, value: Any) -> Any:
    """The inverse of `to_json` for the annotated type `kind`. Raises ConfigError for a field it does not have, or of another type."""
    options = _alternatives(kind)
    classes: dict[str, Any] = {
        getattr(option, "__name__", ""): option for option in options if dataclasses.is_dataclass(option)
    }
    if isinstance(value, Mapping) and "is" in value:
        return _instance(classes, value)
    if value is None and type(None) in options:
        return None
    if classes:
        raise ConfigError(
            f"expected the settings of {' or '.join(name for name in classes if name)}, got {value!r:.60}"
        )
    return _checked(kind, _tuples(value))


def _tuples(value: Any) -> Any:
    """JSON has lists where settings have tuples."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _checked(kind: Any, value: Any) -> Any:
    """The value, if it is of the annotated type: nothing is coerced but a whole number to a float (ConfigError)."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        raise ConfigError(f"{value!r:.60} is of the wrong type: {error.errors()[0]['msg']}") from error


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)


def _instance(classes: Mapping[str, Any], value: Mapping[str, Any]) -> Any:
    cls = classes.get(value["is"])
    if cls is None:
        raise ConfigError(f"settings of {value['is']!r} stand where {', '.join(classes)} was expected")
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(value) - {"is"} - {field.name for field in dataclasses.fields(cls) if field.init})
    if unknown:
        raise ConfigError(f"{cls.__name__} has no settings {', '.join(unknown)}; were they written by another version?")
    return cls(**{name: _field(cls, name, hints[name], item) for name, item in value.items() if name != "is"})


def _field(cls: Any, name: str, kind: Any, value: Any) -> Any:
    try:
        return from_json(kind, value)
    except ConfigError as error:
        raise ConfigError(f"{cls.__name__}.{name}: {error}") from error

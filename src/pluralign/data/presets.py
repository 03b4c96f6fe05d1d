"""Presets: conditions with names, in a JSON file that the server and the export read.

    {"calm": "helpful=.7,funny=.3 @1.5", "expert": {"weights": {"helpful": 1.0}, "strength": 1.2}, "short": "\\"one sentence\\""}

A value is a condition in either of its two written forms (`data/condition.py`). Names become model ids and folders.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pluralign.data.condition import Bounds, Condition, from_json, parse, to_json
from pluralign.data.objective import Objective
from pluralign.errors import ConditionError, DataError

PRESET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}")


@dataclass(frozen=True)
class Presets(Mapping[str, Condition]):
    """Named conditions, in the file's order; a mapping of name -> condition.

    Raises DataError for a name that can be no folder or model id, and for two that differ in capitals only.
    """

    conditions: Mapping[str, Condition] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seen: dict[str, str] = {}
        for name in self.conditions:
            if not isinstance(name, str) or not PRESET_NAME.fullmatch(name):
                raise DataError(
                    f"{name!r:.80} cannot be a preset's name: up to 64 letters, digits, '_', '-' and '.', a letter or "
                    "digit first"
                )
            if seen.setdefault(name.casefold(), name) != name:
                raise DataError(
                    f"the presets {seen[name.casefold()]!r} and {name!r} differ in capitals only; folders may not"
                )

    def __getitem__(self, name: str) -> Condition:
        return self.conditions[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.conditions)

    def __len__(self) -> int:
        return len(self.conditions)

    def named(self, name: str) -> Condition:
        """The condition of that name; ConditionError with the known names where there is none."""
        if isinstance(name, str) and name in self.conditions:
            return self.conditions[name]
        known = ", ".join(self.conditions) or "none (no file of presets was given)"
        raise ConditionError(f"unknown preset {name!r:.80}; allowed are: {known}")

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary, as `read` reads it."""
        return {name: to_json(condition) for name, condition in self.conditions.items()}

    @classmethod
    def read(cls, path: str | Path, objectives: Sequence[Objective], bounds: Bounds | None = None) -> Presets:
        """The presets of a file, each checked against the bounds (default: the simplex).

        Raises DataError that names the file and the entry: no JSON, a name twice, a condition that does not parse, that
        names unknown objectives or leaves its bounds. Whether a policy understands that kind is the policy's to say.
        """
        conditions = {}
        for name, value in _entries(path):
            if name in conditions:
                raise DataError(f"the preset {name!r} stands twice; name each one once", path=path)
            conditions[name] = _condition(path, name, value, objectives, bounds or Bounds())
        if not conditions:
            raise DataError("holds no preset; write at least one, e.g. {'calm': 'helpful=1'}", path=path)
        try:
            return cls(conditions)
        except DataError as error:
            raise DataError(error.reason, path=path) from error


def _condition(path: str | Path, name: str, value: Any, objectives: Sequence[Objective], bounds: Bounds) -> Condition:
    try:
        condition = parse(value) if isinstance(value, str) else from_json(value)
        bounds.check(condition, objectives)
    except ConditionError as error:
        raise DataError(f"preset {name!r}: {error}", path=path) from error
    return condition


class _Pairs(list[tuple[str, Any]]):
    """The members of a JSON object, a name that stands twice still twice."""


def _entries(path: str | Path) -> _Pairs:
    """The members of the file's object in order."""
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=_Pairs)
    except json.JSONDecodeError as error:
        raise DataError(f"not valid JSON: {error.msg}", path=path, line=error.lineno) from error
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text: {error.reason} at byte {error.start}", path=path) from error
    except RecursionError as error:
        raise DataError("nests too deep for a file of presets", path=path) from error
    except ValueError as error:  # an integer of thousands of digits
        raise DataError(f"not valid JSON: {error}", path=path) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", path=path) from error
    if not isinstance(found, _Pairs):
        raise DataError(f"presets are one object of name -> condition, got {type(found).__name__}", path=path)
    return _Pairs((name, _plain(path, name, value)) for name, value in found)


def _plain(path: str | Path, preset: str, value: Any) -> Any:
    """Members -> dictionaries, inside the value of one preset."""
    if not isinstance(value, _Pairs):
        return value
    names = [name for name, _ in value]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"preset {preset!r}: {', '.join(twice)} given twice", path=path)
    return {name: _plain(path, preset, inner) for name, inner in value}

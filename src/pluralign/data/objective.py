"""Objective: an axis people care about (never a loss)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pluralign.errors import ConditionError, DataError

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_\-]*")


@dataclass(frozen=True, slots=True)
class Objective:
    """One axis of human feedback, e.g. helpful on 0..4.

    `low` and `high` bound a score (inclusive, in the units of the source). `direction` says which end people
    want. `safety` marks an objective whose inversion by a negative weight must never happen by accident.
    Raises DataError for an illegal name or an empty range.
    """

    name: str
    description: str = ""
    low: float = 0.0
    high: float = 1.0
    direction: Literal["higher", "lower"] = "higher"
    safety: bool = False

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise DataError(
                f"objective name {self.name!r} is not allowed: use letters, digits, '_' and '-', starting with a letter"
            )
        object.__setattr__(self, "low", _float(self.low))
        object.__setattr__(self, "high", _float(self.high))
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise DataError(f"objective {self.name!r} needs finite low < high, got low={self.low}, high={self.high}")
        if self.direction not in ("higher", "lower"):
            raise DataError(f"objective {self.name!r}: direction is 'higher' or 'lower', got {self.direction!r}")

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary, the inverse of `from_json`."""
        return {field: getattr(self, field) for field in self.__dataclass_fields__}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Objective:
        """Read one objective; unknown or missing keys and wrong types raise DataError."""
        _check_json(value)
        return cls(
            name=value["name"],
            description=value.get("description", ""),
            low=value.get("low", 0.0),
            high=value.get("high", 1.0),
            direction=value.get("direction", "higher"),
            safety=value.get("safety", False),
        )


_TYPES: dict[str, tuple[type, ...]] = {
    "name": (str,), "description": (str,), "low": (int, float), "high": (int, float),
    "direction": (str,), "safety": (bool,),
}  # fmt: skip


def _check_json(value: Mapping[str, Any]) -> None:
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise DataError(f"an objective is an object with at least a 'name', got {value!r}")
    for key, given in value.items():
        allowed = _TYPES.get(key)
        if allowed is None:
            raise DataError(f"objective {value['name']!r}: unknown key {key!r}; allowed are {sorted(_TYPES)}")
        if not isinstance(given, allowed) or (isinstance(given, bool) and bool not in allowed):
            raise DataError(f"objective {value['name']!r}: {key} cannot be {given!r}")


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond float64
        return math.inf


def names(objectives: Iterable[Objective]) -> tuple[str, ...]:
    """The names, in order."""
    return tuple(objective.name for objective in objectives)


def unique(objectives: Sequence[Objective]) -> tuple[Objective, ...]:
    """The same objectives, after checking that no name occurs twice (DataError)."""
    seen = names(objectives)
    twice = sorted({name for name in seen if seen.count(name) > 1})
    if twice:
        raise DataError(f"objective names must be unique, these occur more than once: {', '.join(twice)}")
    return tuple(objectives)


def known(asked: Iterable[str], objectives: Sequence[Objective]) -> None:
    """Raise ConditionError naming the allowed objectives unless every asked name is one of them."""
    allowed = names(objectives)
    unknown = [name for name in asked if name not in allowed]
    if unknown:
        raise ConditionError(f"unknown objective {', '.join(map(repr, unknown))}; allowed are: {', '.join(allowed)}")

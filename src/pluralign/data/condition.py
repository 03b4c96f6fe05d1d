"""Condition: what is asked of a steerable model. Parsed, printed and checked here and nowhere else.

Three kinds, each with a `strength` (1 is the trained strength; CLP's α, DeRA's λ, guidance):

    Weights   a trade-off             helpful=.7,brief=.3 @1.5
    Targets   a score per objective   helpful:4,brief:1
    Feedback  words                   "kind, and in one sentence"    (quotes optional where nothing is ambiguous)
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from types import MappingProxyType
from typing import Any

import numpy as np

from pluralign.data.objective import NAME, Objective, known, names
from pluralign.errors import ConditionError, ConfigError

SUM_TOLERANCE = 1e-4
_SYNTAX = (
    "write weights as 'helpful=0.7,brief=0.3', targets as 'helpful:4,brief:1', words in double quotes, "
    "each optionally followed by ' @STRENGTH'"
)
_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_STRENGTH = re.compile(rf"\s*@\s*({_NUMBER})\s*$")
_TERM = re.compile(rf"\s*({NAME.pattern})\s*([=:])\s*({_NUMBER})\s*")


def _number(value: Any, what: str) -> float:
    try:
        if not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value):
            return float(value)
    except OverflowError:  # an integer beyond float64
        pass
    raise ConditionError(f"{what} must be a finite number, got {value!r:.80}")


def _numbers(values: Mapping[str, float], kind: str) -> Mapping[str, float]:
    if not isinstance(values, Mapping) or not values:
        raise ConditionError(f"{kind} name no objective; {_SYNTAX}")
    for name in values:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise ConditionError(f"{kind}: {name!r} cannot be an objective's name (letters, digits, '_' and '-')")
    return MappingProxyType({name: _number(value, f"{kind}: {name}") for name, value in values.items()})


@dataclass(frozen=True, slots=True)
class Weights:
    """A trade-off: how much each objective counts (λ). Objectives left out count 0."""

    values: Mapping[str, float]
    strength: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _numbers(self.values, "weights"))
        object.__setattr__(self, "strength", _number(self.strength, "weights: strength"))

    def __hash__(self) -> int:
        return hash((frozenset(self.values.items()), self.strength))

    def __str__(self) -> str:
        return _terms(self.values, "=") + _suffix(self.strength)

    def __reduce__(self) -> tuple[Any, ...]:
        return Weights, (dict(self.values), self.strength)


@dataclass(frozen=True, slots=True)
class Targets:
    """A wished-for score per objective, in the objective's own units."""

    values: Mapping[str, float]
    strength: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _numbers(self.values, "targets"))
        object.__setattr__(self, "strength", _number(self.strength, "targets: strength"))

    def __hash__(self) -> int:
        return hash((frozenset(self.values.items()), self.strength))

    def __str__(self) -> str:
        return _terms(self.values, ":") + _suffix(self.strength)

    def __reduce__(self) -> tuple[Any, ...]:
        return Targets, (dict(self.values), self.strength)


@dataclass(frozen=True, slots=True)
class Feedback:
    """Plain words, e.g. the feedback that the reply should earn."""

    text: str
    strength: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text.strip():
            raise ConditionError("feedback must be a non-empty text")
        object.__setattr__(self, "strength", _number(self.strength, "feedback: strength"))

    def __str__(self) -> str:
        return '"' + self.text.replace("\\", "\\\\").replace('"', '\\"') + '"' + _suffix(self.strength)


Condition = Weights | Targets | Feedback


def _terms(values: Mapping[str, float], sign: str) -> str:
    return ",".join(f"{name}{sign}{_short(value)}" for name, value in values.items())


def _short(value: float) -> str:
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _suffix(strength: float) -> str:
    return "" if strength == 1.0 else f" @{_short(strength)}"


def parse(text: str) -> Condition:
    """Read a condition from the syntax above; the inverse of `str`. Raises ConditionError with the syntax."""
    if not isinstance(text, str):
        raise ConditionError(f"a condition is a text, got {text!r:.80}; {_SYNTAX}")
    stripped = text.strip()
    quoted = re.fullmatch(rf'"((?:[^"\\]|\\.)*)"(?:\s*@\s*({_NUMBER}))?', stripped, re.DOTALL)
    if quoted:
        words = re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL)
        return Feedback(words, float(quoted[2]) if quoted[2] else 1.0)
    found = _STRENGTH.search(stripped)
    strength, body = (float(found[1]), stripped[: found.start()]) if found else (1.0, stripped)
    if not body:
        raise ConditionError(f"an empty condition {text!r}; {_SYNTAX}")
    if body.startswith('"'):
        raise ConditionError(f"the quotes of {text!r} do not close, or something but '@STRENGTH' follows; {_SYNTAX}")
    if not re.search(r"[=:]", body):
        return Feedback(body, strength)
    return _parse_terms(body, strength, text)


def _parse_terms(body: str, strength: float, text: str) -> Weights | Targets:
    values: dict[str, float] = {}
    signs = set()
    for part in body.split(","):
        term = _TERM.fullmatch(part)
        if not term:
            raise ConditionError(f"cannot read {part.strip()!r} in the condition {text!r}; {_SYNTAX}")
        if term[1] in values:
            raise ConditionError(f"objective {term[1]!r} occurs twice in the condition {text!r}; name each one once")
        values[term[1]] = float(term[3])
        signs.add(term[2])
    if len(signs) > 1:
        raise ConditionError(f"the condition {text!r} mixes weights ('=') and targets (':'); {_SYNTAX}")
    return Weights(values, strength) if signs == {"="} else Targets(values, strength)


def to_json(condition: Condition) -> dict[str, Any]:
    """A plain dictionary: {"weights": {...}} | {"targets": {...}} | {"feedback": "..."}, with strength if not 1."""
    strength = {} if condition.strength == 1.0 else {"strength": condition.strength}
    if isinstance(condition, Feedback):
        return {"feedback": condition.text, **strength}
    kind = "weights" if isinstance(condition, Weights) else "targets"
    return {kind: dict(condition.values), **strength}


def from_json(value: Any) -> Condition:
    """The inverse of `to_json`. Raises ConditionError for unknown keys, wrong types or more than one kind."""
    if not isinstance(value, Mapping):
        raise ConditionError(f"a condition is an object with 'weights', 'targets' or 'feedback', got {value!r}")
    unknown = sorted(map(str, set(value) - {"weights", "targets", "feedback", "strength"}))
    kinds = [kind for kind in ("weights", "targets", "feedback") if kind in value]
    if unknown or len(kinds) != 1:
        raise ConditionError(
            f"a condition has exactly one of 'weights', 'targets', 'feedback' and optionally 'strength', got {sorted(map(str, value))}"
        )
    content, strength = value[kinds[0]], value.get("strength", 1.0)
    if kinds[0] == "feedback":
        return Feedback(content, strength)
    if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
        raise ConditionError(f"{kinds[0]} must be an object of objective -> number, got {content!r}")
    return (Weights if kinds[0] == "weights" else Targets)(content, strength)


def one_hot(name: str) -> Weights:
    """All weight on one objective."""
    return Weights({name: 1.0})


def vector(weights: Weights, objectives: Sequence[Objective]) -> np.ndarray:
    """strength * λ as float64 [K] in the order of `objectives`; objectives left out are 0."""
    known(weights.values, objectives)
    return np.array([weights.strength * weights.values.get(name, 0.0) for name in names(objectives)])


def from_vector(values: Sequence[float] | np.ndarray, objectives: Sequence[Objective]) -> Weights:
    """Weights from a vector [K]; zeros are left out unless all are zero."""
    numbers = [float(value) for value in values]
    if len(numbers) != len(objectives):
        raise ConditionError(f"{len(numbers)} weights for {len(objectives)} objectives")
    kept = {name: value for name, value in zip(names(objectives), numbers, strict=True) if value != 0.0}
    return Weights(kept or dict.fromkeys(names(objectives), 0.0))


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a policy may be asked for: a range per objective (default [0, 1]) and whether weights must sum to 1.

    `allow_extrapolation` lifts both on purpose, and allows a negative strength: a negative weight on a safety
    objective inverts it. Raises ConfigError for an empty or infinite range.
    """

    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict, hash=False)
    simplex: bool = True
    allow_extrapolation: bool = False

    def __post_init__(self) -> None:
        for name, (low, high) in self.ranges.items():
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                raise ConfigError(f"the bound of {name!r} needs finite low <= high, got [{low}, {high}]")

    def check(self, condition: Condition, objectives: Sequence[Objective]) -> None:
        """Raise ConditionError, naming the bound and the way out, unless the condition may be asked."""
        if condition.strength < 0 and not self.allow_extrapolation:
            raise ConditionError(
                f"strength {condition.strength:g} is negative, which asks for the opposite; "
                "use 0 or more, or lift the bounds on purpose with --allow-extrapolation"
            )
        if isinstance(condition, Feedback):
            return
        known(condition.values, objectives)
        if isinstance(condition, Targets):
            _check_targets(condition, objectives)
        elif not self.allow_extrapolation:
            self._check_weights(condition)

    def _check_weights(self, weights: Weights) -> None:
        for name, value in weights.values.items():
            low, high = self.ranges.get(name, (0.0, 1.0))
            if not low - SUM_TOLERANCE <= value <= high + SUM_TOLERANCE:
                raise ConditionError(
                    f"weight {name}={value:g} is outside its bound [{low:g}, {high:g}]; "
                    "stay inside, or lift the bounds on purpose with --allow-extrapolation"
                )
        total = sum(weights.values.values())
        if self.simplex and abs(total - 1.0) > SUM_TOLERANCE:
            raise ConditionError(
                f"weights must sum to 1, these sum to {total:g}: {weights}; " + _advice(weights, total)
            )


def _advice(weights: Weights, total: float) -> str:
    positive = total > 0 and all(value >= 0 for value in weights.values.values())
    meant = f"did you mean {_scaled(weights, total)}? " if positive else ""
    return meant + "Use ' @STRENGTH' to scale all of them, or --allow-extrapolation to lift the bounds on purpose"


def _scaled(weights: Weights, total: float) -> Weights:
    values = {name: round(value / total, 3) for name, value in weights.values.items()}
    largest = max(values, key=values.__getitem__)  # takes what rounding left over, so that the advice is legal itself
    values[largest] = round(values[largest] + 1.0 - sum(values.values()), 3)
    return Weights(values)


def _check_targets(targets: Targets, objectives: Sequence[Objective]) -> None:
    by_name = {objective.name: objective for objective in objectives}
    for name, value in targets.values.items():
        low, high = by_name[name].low, by_name[name].high
        if not low <= value <= high:
            raise ConditionError(f"target {name}:{value:g} is outside the objective's range [{low:g}, {high:g}]")

"""What a request asks the model for: the field `steering`, or what follows the @ of the model's name -> a condition.

{"weights": {"helpful": 0.7, "funny": 0.3}, "strength": 1.5} | {"targets": ...} | {"feedback": "..."} | {"preset": "..."}
name@helpful=0.7,funny=0.3      name@helpful:4      name@"in one sentence"      name@preset
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pluralign.data.condition import Condition, Feedback, Targets, Weights, from_json, parse, to_json
from pluralign.errors import ConditionError
from pluralign.serving.problems import Wrong

if TYPE_CHECKING:
    from pluralign.policy import Policy

STRONGEST = 10.0
"""The largest strength that may be asked for: far beyond, numbers overflow."""
FARTHEST = 100.0
"""The largest |weight · strength| where the operator lifted the bounds."""

LONGEST_FEEDBACK = 2000
"""Letters of feedback, at most."""

Presets = Mapping[str, Condition]


class Steered(NamedTuple):
    """The condition that a request asks for, and the preset that it was named by, if any."""

    condition: Condition | None
    preset: str | None = None

    def echo(self) -> dict[str, Any] | None:
        """What the response says was used."""
        if self.condition is None:
            return None
        return to_json(self.condition) | ({} if self.preset is None else {"preset": self.preset})


def split_model(model: str, names: Collection[str]) -> tuple[str, str | None]:
    """(policy's name, what follows its @). Raises Wrong (404) for a name that is none."""
    name, at, suffix = (model, "", "") if model in names else model.partition("@")
    if name not in names:
        raise Wrong(
            f"there is no model {name!r:.100}; there are: {', '.join(names)}", "model", "model_not_found", status=404
        )
    if at and not suffix:
        raise Wrong(f"{model!r} names no condition after its @; write e.g. {name}@PRESET, or leave the @ out", "model")
    return name, suffix or None


def read_steering(policy: Policy, presets: Presets, suffix: str | None, field: Any) -> Steered:
    """The condition of a request, checked. Raises Wrong, which names what is allowed."""
    if field is not None and suffix is not None:
        raise Wrong("the condition is given twice, after the model's @ and in 'steering'; give it once", "steering")
    param = "model" if suffix is not None else "steering"
    try:
        steered = _from_suffix(suffix, presets) if suffix is not None else _from_field(field, presets)
        check(policy, steered.condition)
    except ConditionError as error:
        raise Wrong(f"{error}. {allowed(policy, presets)}", param) from error
    return steered


def check(policy: Policy, condition: Condition | None) -> None:
    """Raise ConditionError unless the policy may be asked for it, on this server."""
    if condition is None:
        return
    if abs(condition.strength) > STRONGEST:
        raise ConditionError(f"strength {condition.strength:g} is beyond the bound {STRONGEST:g}")
    if isinstance(condition, Feedback) and len(condition.text) > LONGEST_FEEDBACK:
        raise ConditionError(f"feedback has at most {LONGEST_FEEDBACK} letters, this has {len(condition.text)}")
    if isinstance(condition, Weights):
        for name, value in condition.values.items():
            if abs(value * condition.strength) > FARTHEST:
                raise ConditionError(f"weight {name}={value:g} is beyond what can be computed, {FARTHEST:g}")
    policy.check(condition)


def _from_suffix(suffix: str, presets: Presets) -> Steered:
    if suffix in presets:
        return Steered(presets[suffix], suffix)
    if not any(sign in suffix for sign in '=:"'):
        raise ConditionError(f"unknown preset {suffix!r:.80}")
    return Steered(parse(suffix))


def _from_field(field: Any, presets: Presets) -> Steered:
    if field is None:
        return Steered(None)
    if not isinstance(field, dict) or "preset" not in field:
        return Steered(from_json(field))
    if set(field) != {"preset"}:
        raise ConditionError("a preset stands alone: it brings its own weights and strength")
    name = field["preset"]
    if not isinstance(name, str) or name not in presets:
        raise ConditionError(f"unknown preset {name!r:.80}")
    return Steered(presets[name], name)


def allowed(policy: Policy, presets: Presets) -> str:
    """One sentence: what this model can be asked for."""
    ways = []
    kinds = policy.steering.accepts
    if Weights in kinds:
        ways.append(f"weights of {_ranges(policy)}{', which sum to 1' if _simplex(policy) else ''}")
    if Targets in kinds:
        ways.append("targets of " + ", ".join(f"{o.name} [{o.low:g}, {o.high:g}]" for o in policy.objectives))
    if Feedback in kinds:
        ways.append("feedback in words")
    if presets:
        ways.append(f"the presets {', '.join(presets)}")
    return f"Allowed: {'; '.join(ways)}" if ways else "This model cannot be steered; leave the condition out"


def _simplex(policy: Policy) -> bool:
    return policy.bounds.simplex and not policy.bounds.allow_extrapolation


def _ranges(policy: Policy) -> str:
    if policy.bounds.allow_extrapolation:
        return ", ".join(o.name for o in policy.objectives)
    bounds = {o.name: policy.bounds.ranges.get(o.name, (0.0, 1.0)) for o in policy.objectives}
    return ", ".join(f"{name} [{low:g}, {high:g}]" for name, (low, high) in bounds.items())

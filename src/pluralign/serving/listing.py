"""GET /v1/models: every policy, and every preset of it, as a model of its own; with what they can be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pluralign.data.condition import Feedback, Targets, Weights, to_json
from pluralign.serving.problems import Wrong
from pluralign.serving.steering_field import Presets

if TYPE_CHECKING:
    from pluralign.policy import Policy
    from pluralign.serving.worker import Worker

_KINDS = ((Weights, "weights"), (Targets, "targets"), (Feedback, "feedback"))


def listed(workers: Mapping[str, Worker], presets: Mapping[str, Presets], created: int) -> dict[str, dict[str, Any]]:
    """Models by id, the policies' first."""
    about = {name: _facts(worker.policy, presets.get(name, {})) for name, worker in workers.items()}
    plain = {name: _model(name, created) | {"steering": facts} for name, facts in about.items()}
    named = {
        f"{name}@{preset}": _model(f"{name}@{preset}", created) | {"parent": name, "condition": to_json(condition)}
        for name in workers
        for preset, condition in presets.get(name, {}).items()
    }
    return plain | named


def one(models: Mapping[str, dict[str, Any]], name: str) -> dict[str, Any]:
    """The model of that id. Raises Wrong (404)."""
    if name not in models:
        raise Wrong(
            f"there is no model {name!r:.100}; there are: {', '.join(models)}", "model", "model_not_found", status=404
        )
    return models[name]


def _model(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "pluralign"}


def _facts(policy: Policy, presets: Presets) -> dict[str, Any]:
    """What a policy can be asked for: `accepts` in order of its own preference; bounds of weights, ranges of targets."""
    bounds = policy.bounds
    objectives = [
        {
            "name": o.name,
            "description": o.description,
            "weight": None if bounds.allow_extrapolation else list(bounds.ranges.get(o.name, (0.0, 1.0))),
            "range": [o.low, o.high],
            "direction": o.direction,
            "safety": o.safety,
        }
        for o in policy.objectives
    ]
    return {
        "mechanism": policy.steering.kind,
        "accepts": [name for kind, name in _KINDS if kind in policy.steering.accepts],
        "objectives": objectives,
        "weights_sum_to_1": bounds.simplex and not bounds.allow_extrapolation,
        "presets": list(presets),
    }

"""Directions in the prompt: unit vectors, their whole numbers, the cone, and what its bounds let people ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tiny
from pluralign.data.condition import Bounds, Targets, Weights, one_hot, vector
from pluralign.data.objective import Objective
from pluralign.data.record import user
from pluralign.errors import ConditionError, ConfigError
from pluralign.policy import Policy
from pluralign.steering.prompt.directions import PromptDirections

TWO = (Objective("kind"), Objective("brief"))
SAFE = (*TWO, Objective("safe", safety=True))


def policy(objectives: Any = TWO, **options: Any) -> Policy:
    made = tiny.policy(PromptDirections(**options), objectives=objectives)
    made.bounds = made.steering.bounds(objectives)  # type: ignore[attr-defined]
    return made


def asked(made: Policy, condition: Weights) -> str:
    return made.steering.write(user("joke"), made.check(condition))[0].content


def test_a_trade_off_is_written_as_a_unit_vector_in_hundredths() -> None:
    assert asked(policy(), Weights({"kind": 0.5, "brief": 0.5})) == "kind 71, brief 71"  # 100 / √2
    assert asked(policy(), Weights({"kind": 0.8, "brief": 0.2})) == "kind 97, brief 24"  # (4, 1) / √17
    assert asked(policy(), one_hot("brief")) == "kind 0, brief 100"
    assert asked(policy(padded=True), Weights({"kind": 0.8, "brief": 0.2})) == "kind 097, brief 024"
    assert asked(policy(padded=True, whole=9), Weights({"kind": 0.8, "brief": 0.2})) == "kind 9, brief 2"  # 8.7 and 2.2
    assert asked(policy(whole=9), one_hot("brief")) == "kind 0, brief 9"
    wide = policy(padded=True, axis="kind", angle=60.0)
    assert asked(wide, Weights({"kind": 0.8, "brief": -0.2})) == "kind +097, brief -024"
    cone = policy(form="paper", axis="kind")
    assert asked(cone, Weights({"kind": 0.6, "brief": -0.6})) == "maximize weighted rating = kind*71 + brief*-71"


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=3), st.floats(0.1, 3.0))
def test_its_length_is_one_and_its_strength_is_kept(raw: list[float], strength: float) -> None:
    weights = Weights(dict(zip(("kind", "brief", "safe"), raw, strict=True)), strength)
    if np.linalg.norm(raw) < 1e-6:
        return
    found = PromptDirections().translate(weights, SAFE)
    assert found.strength == strength
    direction = np.array([found.values.get(each.name, 0.0) for each in SAFE])
    assert np.linalg.norm(direction) == pytest.approx(1.0)
    assert direction * np.linalg.norm(raw) == pytest.approx(np.array(raw))
    assert np.linalg.norm((100 * direction).round()) == pytest.approx(100, abs=1)  # up to whole numbers


@pytest.mark.parametrize("angle", [20.0, 45.0, 120.0])
def test_drawn_directions_fill_the_cone_and_may_be_asked_for(angle: float) -> None:
    made = policy(axis="kind", angle=angle)
    steering = made.steering
    assert isinstance(steering, PromptDirections)
    rng = np.random.default_rng(0)
    drawn = np.stack([vector(steering.draw(rng, TWO), TWO) for _ in range(400)])
    assert np.linalg.norm(drawn, axis=1) == pytest.approx(np.ones(400))
    away = np.degrees(np.arctan2(drawn[:, 1], drawn[:, 0]))  # uniform from -angle to angle in two dimensions
    assert abs(away).max() <= angle + 1e-9
    assert np.quantile(away, [0.25, 0.5, 0.75]) == pytest.approx([-angle / 2, 0, angle / 2], abs=angle / 6)
    for row in drawn[:50]:
        made.check(Weights({"kind": float(row[0]), "brief": float(row[1])}))


def test_a_safety_objective_is_never_turned_round() -> None:
    steering = PromptDirections(axis="kind", angle=80.0)
    rng = np.random.default_rng(0)
    drawn = np.stack([vector(steering.draw(rng, SAFE), SAFE) for _ in range(100)])
    assert drawn[:, 2].min() >= 0 > drawn[:, 1].min()
    made = policy(SAFE, axis="kind", angle=80.0)
    with pytest.raises(ConditionError, match=r"safe=-0\.5 is outside its bound"):
        made.check(Weights({"kind": 1.0, "safe": -0.5}))


def test_without_an_axis_directions_are_weights() -> None:
    steering, rng = PromptDirections(), np.random.default_rng(0)
    safe = policy(SAFE)
    for _ in range(50):
        safe.check(steering.draw(rng, SAFE))
    with pytest.raises(ConditionError, match="outside its bound"):
        policy().check(Weights({"kind": 1.5, "brief": -0.5}))
    made = policy()
    made.bounds = Bounds(allow_extrapolation=True)
    assert asked(made, Weights({"kind": 1.0, "brief": -1.0})) == "kind 71, brief -71"


def test_what_has_no_direction_in_the_cone_is_refused() -> None:
    made = policy(axis="kind")
    with pytest.raises(ConditionError, match=r"points 90 degrees away from kind.*within 45; give kind more weight"):
        made.check(Weights({"kind": 0.0, "brief": 0.7}))
    made.check(Weights({"kind": 0.71, "brief": 0.7}))
    with pytest.raises(ConditionError, match="no direction"):
        made.check(Weights({"kind": 0.0}))
    with pytest.raises(ConditionError, match=r"reads a direction, e\.g\. 'kind=1'"):
        made.check(Targets({"kind": 1.0}))
    with pytest.raises(ConditionError, match="unknown objective 'funny'"):
        policy(axis="funny").check(one_hot("kind"))
    for wrong in ({"form": "loud"}, {"angle": 0.0}, {"angle": 200.0}, {"whole": 0}):
        with pytest.raises(ConfigError):
            PromptDirections(**wrong)  # type: ignore[arg-type]


def test_a_folder_keeps_the_cone(tmp_path: Path) -> None:
    made = policy(axis="kind", angle=30.0)
    tiny.shake(made)
    again = Policy.load(made.save(tmp_path / "policy"))
    assert (again.steering, again.bounds) == (made.steering, made.bounds)
    condition = Weights({"kind": 0.9, "brief": -0.3}, 1.5)
    values = [each.logprobs([user("joke")], ["nice"], [each.check(condition)]) for each in (made, again)]
    assert torch.equal(*values)

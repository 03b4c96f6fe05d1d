"""Poles: which changes a signed weight chooses, and that their products are merged exactly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import tiny
from pluralign.data.condition import Bounds, Condition, Targets, Weights, one_hot
from pluralign.data.record import user
from pluralign.errors import ConditionError, ConfigError
from pluralign.policy import Policy
from pluralign.steering.poles import PolesSteering

CHOSEN = Weights({"kind": 0.25, "brief": -0.75})


@pytest.fixture
def policy() -> Policy:
    made = tiny.policy(PolesSteering(where="attention", rank=2), shaken=0.3)
    made.bounds = Bounds(allow_extrapolation=True)
    return made


def said(policy: Policy, condition: Condition | None) -> torch.Tensor:
    return policy.logprobs([user("a joke")] * 2, ["good", "very long"], [condition] * 2)


@pytest.mark.parametrize(
    ("merge", "strength", "expected"),
    [
        ("uniform", 1.0, [0.5, 0, 0, 0.5, 0, 0]),
        ("uniform", 2.0, [1.0, 0, 0, 1.0, 0, 0]),
        ("weighted", 1.0, [0.25, 0, 0, 0.75, 0, 0]),
        ("weighted", 2.0, [0.5, 0, 0, 1.5, 0, 0]),
    ],
)
def test_amounts_by_hand(merge: str, strength: float, expected: list[float]) -> None:
    """(high, low) of kind, brief and funny."""
    steering = PolesSteering(merge=merge)  # type: ignore[arg-type]
    found = steering.amounts(Weights(CHOSEN.values, strength), tiny.OBJECTIVES)
    assert found.tolist() == pytest.approx(expected)


def test_one_pole_is_its_own_policy(policy: Policy) -> None:
    """With every other change at zero, nothing changes."""
    low = said(policy, Weights({"brief": -1.0}))
    assert not torch.allclose(low, said(policy, one_hot("brief")), atol=1e-2)
    state = {name: tensor.clone() for name, tensor in policy.steering_state().items()}
    for tensor in state.values():
        tensor[[place for place in range(6) if place != 3]] = 0
    policy.load_steering_state(state)
    assert torch.equal(said(policy, Weights({"brief": -1.0})), low)
    torch.testing.assert_close(said(policy, one_hot("brief")), said(policy, None), atol=1e-5, rtol=0)


def test_products_are_merged_exactly(policy: Policy) -> None:
    """W = W_0 + ½ (B_c A_c + B_d A_d); the mean of the factors would give another matrix."""
    merged = policy.merge(CHOSEN).state_dict()
    name = "model.layers.0.self_attn.q_proj"
    layer = policy.model.get_submodule(name)
    down, up, base = layer.objectives.down.detach(), layer.objectives.up.detach(), layer.base.weight.detach()
    exact = base + 0.5 * (up[0] @ down[0] + up[3] @ down[3])
    torch.testing.assert_close(merged[f"{name}.weight"], exact, atol=1e-6, rtol=0)
    factors = base + 0.25 * (up[0] + up[3]) @ (down[0] + down[3])
    assert not torch.allclose(merged[f"{name}.weight"], factors, atol=1e-3)


def test_saved_and_loaded(tmp_path: Path, policy: Policy) -> None:
    policy.save(tmp_path / "policy")
    again = Policy.load(tmp_path / "policy")
    assert torch.equal(said(again, CHOSEN), said(policy, CHOSEN))


@pytest.mark.parametrize(
    "condition", [Weights({"kind": 0.5, "brief": -0.2}), Weights({"kind": 2.0}), Targets({"kind": 1.0})]
)
def test_what_is_no_choice_of_poles_is_refused(policy: Policy, condition: Condition) -> None:
    with pytest.raises(ConditionError, match=r"sizes of the weights must sum to 1|steered by weights"):
        policy.check(condition)


def test_settings_act_or_raise(policy: Policy) -> None:
    with pytest.raises(ConfigError, match="uniform or weighted"):
        PolesSteering(merge="mean")  # type: ignore[arg-type]
    for merge in ("uniform", "weighted"):
        with pytest.raises(ConditionError, match="not by a strength below 0"):
            PolesSteering(merge=merge).amounts(Weights({"kind": 1.0}, -1.0), tiny.OBJECTIVES)  # type: ignore[arg-type]

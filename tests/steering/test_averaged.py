"""Averaged factors: by hand, one expert alone, and every path that reads a change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from pluralign.data.condition import Bounds, Weights, one_hot
from pluralign.data.group import Group, Preference
from pluralign.data.record import user
from pluralign.errors import ConfigError
from pluralign.export.adapter import factors
from pluralign.losses.dpo import DPO
from pluralign.policy import Policy
from pluralign.steering.averaged import AveragedDeltas
from pluralign.steering.decoding import DecodingHead
from pluralign.steering.deltas import Deltas
from pluralign.steering.poles import PolesSteering
from pluralign.training.batching import collate

CHOSEN = Weights({"kind": 0.25, "brief": -0.75})
LOW = Weights({"brief": -1.0})


def made(where: Any = "all", average: Any = "factors", **options: Any) -> Policy:
    policy = tiny.policy(PolesSteering(where=where, rank=2, average=average, **options), shaken=0.3)
    policy.bounds = Bounds(allow_extrapolation=True)
    return policy


def said(policy: Policy, *conditions: Weights | None) -> torch.Tensor:
    return policy.logprobs([user("a joke")] * len(conditions), ["very long"] * len(conditions), list(conditions))


def test_factors_are_averaged_apart_by_hand() -> None:
    """A = 1, 3 and B = 2, 4 in halves: (1 + 3)/2 · (2 + 4)/2 = 6; the products' mean is (2 + 12)/2 = 7."""
    half, alone, inputs = torch.tensor([0.5, 0.5]), torch.tensor([0.0, 1.0]), torch.ones(1, 1, 1)
    for kind, expected in ((AveragedDeltas, 6.0), (Deltas, 7.0)):
        changes = kind(2, 1, 1, 1)
        with torch.no_grad():
            changes.down.copy_(torch.tensor([1.0, 3.0]).view(2, 1, 1))
            changes.up.copy_(torch.tensor([2.0, 4.0]).view(2, 1, 1))
        for shares, value in ((half, expected), (alone, 12.0)):
            assert changes(inputs, shares).item() == pytest.approx(value)
            assert changes.mixed(shares).item() == pytest.approx(value)
            down, up = changes.factors(shares)
            assert (up @ down).item() == pytest.approx(value)


def test_all_begin_alike_and_scaled() -> None:
    """LoRA's scale counts once."""
    changes = AveragedDeltas(3, 4, 5, 2, scale=2.0)
    assert torch.equal(changes.down[0], changes.down[2])
    with torch.no_grad():
        changes.up.normal_()
        changes.down.normal_()
    shares, inputs = torch.tensor([0.2, 0.0, 0.8]), torch.randn(2, 3, 5)
    a, b = (torch.einsum("j,j...->...", shares, tensor) for tensor in (changes.down, changes.up))
    torch.testing.assert_close(changes(inputs, shares), 2 * inputs @ a.T @ b.T)
    torch.testing.assert_close(changes.mixed(shares), 2 * b @ a)


def test_one_pole_is_the_same_whatever_is_averaged() -> None:
    """And several poles are not."""
    apart, exact = made(), made(average="products")
    exact.load_steering_state(apart.steering_state())
    torch.testing.assert_close(said(apart, LOW, one_hot("kind")), said(exact, LOW, one_hot("kind")))
    assert not torch.allclose(said(apart, CHOSEN), said(exact, CHOSEN), atol=1e-2)


@pytest.mark.parametrize("where", ["head", "attention", "all"])
def test_every_path_computes_the_same_matrix(where: Any) -> None:
    """A batch of several conditions, the merged model, the head while decoding."""
    policy = made(where, merge="weighted")
    conditions = [CHOSEN, LOW, None, Weights(CHOSEN.values, 2.0)]
    ids, rows = tiny.ids(4), policy.coefficients(conditions)
    together = tiny.steered_logits(policy, ids, rows)
    for place, condition in enumerate(conditions):
        merged = policy.merge(condition)
        with torch.no_grad():
            torch.testing.assert_close(
                together[place], merged(ids[place : place + 1]).logits[0], atol=2e-5, rtol=0, msg=str(condition)
            )
    hidden = torch.randn(4, 32)
    torch.testing.assert_close(DecodingHead(policy.head).logits(hidden, rows), policy.head.logits(hidden, rows))


def test_the_strength_scales_the_change_once() -> None:
    policy, name = made("attention"), "model.layers.0.self_attn.q_proj.weight"
    base, once, twice = (policy.merge(each).state_dict()[name] for each in (None, CHOSEN, Weights(CHOSEN.values, 2.0)))
    torch.testing.assert_close(twice - base, 2 * (once - base), atol=1e-6, rtol=0)


def test_an_adapter_keeps_the_rank() -> None:
    policy = made("attention")
    merged, base = (policy.merge(each).state_dict() for each in (CHOSEN, None))
    for name, (down, up) in factors(policy, CHOSEN).items():
        assert down.shape[0] == 2
        torch.testing.assert_close(base[f"{name}.weight"] + up @ down, merged[f"{name}.weight"], atol=1e-6, rtol=0)


def test_a_head_of_averaged_factors_learns_by_autograd() -> None:
    """The fused head knows sums of terms only; the losses are those of the plain log-probabilities."""
    policy = made("head")
    group = Group(user("a joke"), ("good", "very long"), (CHOSEN,), (Preference(0, 0, 1),))
    batch = collate(policy, [group])
    batch.reference.fill_(0.0)
    total, losses, _ = policy.losses(batch, DPO())
    total.backward()
    layer = policy.head.layer.objectives  # type: ignore[union-attr]
    assert losses.shape == (1,) and layer.down.grad.abs().sum() > 0
    logprobs = policy.logprobs([user("a joke")] * 2, ["good", "very long"], [CHOSEN] * 2)
    expected = torch.nn.functional.softplus(-0.1 * (logprobs[0] - logprobs[1]))
    torch.testing.assert_close(losses[0], expected.to(losses), atol=1e-4, rtol=0)


def test_saved_and_loaded(tmp_path: Path) -> None:
    policy = made()
    policy.save(tmp_path / "policy")
    again = Policy.load(tmp_path / "policy")
    assert torch.equal(said(again, CHOSEN), said(policy, CHOSEN)) and again.steering == policy.steering


def test_settings_act_or_raise() -> None:
    with pytest.raises(ConfigError, match="products or factors"):
        PolesSteering(average="mean")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"set steering\.rank to a number"):
        tiny.policy(PolesSteering(rank="full", average="factors"))

"""The equality gate lets a right step through and stops a wrong one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bench_shapes import workbench

from pluralign.bench.equality import equalities
from pluralign.bench.gate import Computed, EqualityError, compare, of_naive, of_step, peft_name, relative
from pluralign.bench.naive import Logistic
from pluralign.bench.tasks import conditioned, plain
from pluralign.bench.train import _quiet
from pluralign.bench.workbench import FULL, LOW


def test_our_steps_equal_naive_autograd_and_trl(tmp_path: Path) -> None:
    with _quiet():
        found = list(equalities(workbench(tmp_path), num=2))
    assert [each.against for each in found] == ["naive autograd", "TRL"] * 3 + ["naive autograd"]
    assert [each.num_tensors for each in found] == [16, 16, 18, 18, 20, 20, 16]  # 2 layers x 4 projections x 2, heads
    assert all(each.loss <= 1e-5 and each.worst <= 1e-5 for each in found)
    assert len({each.to_json()["worst"] for each in found}) > 1


@pytest.mark.parametrize("what", [None, LOW, FULL], ids=["dpo", "low", "full"])
def test_a_wrong_step_is_stopped(tmp_path: Path, what: object) -> None:
    """Our step with another β than the naive one: another loss, other gradients."""
    bench = workbench(tmp_path)
    policy = bench.policy(what)  # type: ignore[arg-type]
    groups = plain(bench.pairs) if what is None else conditioned(bench.pairs, 4, 3)
    ours = of_step(bench.stepper(policy, groups, what, 0.0, still=True), groups)  # type: ignore[arg-type]
    right, wrong = of_naive(policy, groups, Logistic(0.1, 0.0)), of_naive(policy, groups, Logistic(0.11, 0.0))
    compare(ours, right, "step", "naive", 1e-5)
    with pytest.raises(EqualityError, match="No speed is printed"):
        compare(ours, wrong, "step", "naive", 1e-5)


def test_one_wrong_gradient_is_enough() -> None:
    right = Computed(2.0, {"a": torch.ones(3), "b": torch.tensor([3.0, 4.0])})
    off = replace(right, gradients={**right.gradients, "b": torch.tensor([3.0, 4.0005])})
    assert relative(off.gradients["b"], right.gradients["b"]) == pytest.approx(1e-4, rel=1e-3)  # 0.0005 / 5
    with pytest.raises(EqualityError, match="gradient of b"):
        compare(off, right, "step", "naive", 1e-5)
    assert compare(off, right, "step", "naive", 1e-3).worst_name == "b"


def test_not_a_number_and_absent_gradients_are_wrong() -> None:
    right = Computed(2.0, {"a": torch.ones(3)})
    with pytest.raises(EqualityError):
        compare(replace(right, gradients={"a": torch.full((3,), torch.nan)}), right, "step", "naive", 1e-5)
    with pytest.raises(EqualityError):
        compare(replace(right, loss=float("nan")), right, "step", "naive", 1e-5)
    with pytest.raises(EqualityError, match="gradient of a 1;"):
        compare(replace(right, gradients={}), right, "step", "naive", 1e-5)
    with pytest.raises(EqualityError, match="neither has a gradient"):
        compare(replace(right, gradients={}), replace(right, gradients={}), "step", "naive", 1e-5)
    untouched = replace(right, gradients={**right.gradients, "b": torch.zeros(2)})
    assert compare(right, untouched, "step", "naive", 1e-5).worst == 0  # 0 and none are the same
    with pytest.raises(EqualityError, match="gradient of b inf;"):
        compare(replace(untouched, gradients={**right.gradients, "b": torch.ones(2)}), untouched, "step", "naive", 1e-5)


def test_a_gate_step_leaves_the_weights_alone(tmp_path: Path) -> None:
    bench = workbench(tmp_path)
    policy, groups = bench.policy(LOW), conditioned(bench.pairs, 4, 3)
    before = {name: tensor.clone() for name, tensor in policy.trainable_state().items()}
    of_step(bench.stepper(policy, groups, LOW, still=True), groups)
    assert all(torch.equal(tensor, before[name]) for name, tensor in policy.trainable_state().items())


def test_names_of_adapters() -> None:
    ours = "model.layers.0.self_attn.q_proj.shared.up"
    assert peft_name(ours) == "base_model.model.model.layers.0.self_attn.q_proj.lora_B.default.weight"

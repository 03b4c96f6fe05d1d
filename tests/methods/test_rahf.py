"""RAHF: the loss by hand, the sides, and a run on a tiny model; steering vectors from the same pairs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch

import made_up
import tiny
from pluralign.data.condition import Weights, one_hot
from pluralign.data.record import user
from pluralign.errors import ConditionError, ConfigError, DataError
from pluralign.layer_states import layer_means
from pluralign.losses.hidden import HiddenContrast
from pluralign.losses.outputs import Judgements, StateOutputs
from pluralign.methods.contract import Method, TrainingData
from pluralign.methods.rahf import Rahf
from pluralign.methods.vectors import Vectors
from pluralign.policy import Policy
from pluralign.steering.contrast import BAD, GOOD, ContrastSteering
from pluralign.steering.vectors import VectorSteering
from pluralign.training.optim import Optim
from pluralign.training.run import Run

DATA = TrainingData(made_up.scored(10), made_up.OBJECTIVES)


def trained(method: Method, folder: Path) -> Policy:
    policy = tiny.policy(method.new_steering(made_up.OBJECTIVES), objectives=made_up.OBJECTIVES)
    with Run(folder) as run:
        return method.train(policy, DATA, run)


def judged(num: int) -> Judgements:
    """Every response under its four conditions."""
    chosen = torch.arange(num).repeat_interleave(4)
    return Judgements(
        chosen, torch.full((4 * num,), -1), torch.arange(4).repeat(num), torch.full((4 * num,), torch.nan)
    )


def test_the_loss_by_hand() -> None:
    """One response of two tokens, one layer, d = 2: base (0, 0), good − bad = (1, 0), a = 2: the target is (2, 0)."""
    own, good, bad, base = [[2.0, 0.0], [2.0, 3.0]], [[1.0, 1.0]] * 2, [[0.0, 1.0]] * 2, [[0.0, 0.0]] * 2
    states = torch.tensor([own, good, bad, base]).flatten(0, 1)[:, None].requires_grad_()
    outputs = StateOutputs(
        torch.zeros(1, 4), torch.zeros(1), torch.tensor([2]), states=states, rows=torch.arange(4).repeat_interleave(2)
    )
    loss, metrics = HiddenContrast((0,), amount=2.0)(outputs, judged(1))
    assert loss.tolist() == [4 * 1.5, 0, 0, 0]  # distances 0 and 3
    assert metrics["distance"].tolist() == [1.5] * 4
    last, _ = HiddenContrast((0,), amount=2.0, positions=1)(outputs, judged(1))
    assert last[0] == 12.0
    (grad,) = torch.autograd.grad(loss.sum(), states)
    assert bool((grad[2:] == 0).all()) and bool((grad[1] != 0).any())


def test_no_amount_points_at_the_base() -> None:
    """a → 0 with own = base is no loss, whatever the sides are."""
    states = torch.randn(4, 3, 1, 5)
    states[0] = states[3]
    outputs = StateOutputs(
        torch.zeros(1, 4),
        torch.zeros(1),
        torch.tensor([3]),
        states=states.flatten(0, 1),
        rows=torch.arange(4).repeat_interleave(3),
    )
    assert float(HiddenContrast((0,), amount=1e-9)(outputs, judged(1))[0].sum()) == pytest.approx(0.0, abs=1e-6)


def test_nobody_asks_for_a_side() -> None:
    policy = tiny.policy(ContrastSteering(), shaken=0.1)
    assert policy.coefficients([one_hot("brief"), Weights({GOOD: 1.0}), Weights({BAD: 1.0})]).tolist() == [
        [0, 1, 0, 0, 0, 1, 1], [0, 0, 0, 1, 0, 1, 1], [0, 0, 0, 0, 1, 1, 1],
    ]  # fmt: skip
    with pytest.raises(ConditionError, match=GOOD):
        policy.check(Weights({GOOD: 1.0}))


def test_rahf_brings_the_states_nearer_and_empties_the_sides(tmp_path: Path) -> None:
    few = Optim(steps=12, batch_size=8, lr=1e-2, head_lr=1e-2, warmup=1, weight_decay=0.0)
    policy = trained(Rahf(sides=few, optim=few, layers=(0, 1), amount=1.0), tmp_path / "run")
    state = policy.steering_state()
    assert all(not bool(tensor[-2:].any()) for name, tensor in state.items() if name.endswith("up"))
    assert all(bool(tensor[0].any()) and bool(tensor[1].any()) for name, tensor in state.items() if name.endswith("up"))
    metrics = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    distances = [json.loads(line) for line in metrics if "adapter-kind" in line]
    assert distances[-1]["distance"] < distances[0]["distance"]
    again = Policy.load(policy.save(tmp_path / "policy"))
    prompts, replies, asked = [user("tell me a joke")], ["good joke"], [Weights({"kind": 0.5, "brief": 0.5})]
    assert torch.allclose(policy.logprobs(prompts, replies, asked), again.logprobs(prompts, replies, asked), atol=1e-5)


def test_vectors_are_the_mean_differences(tmp_path: Path) -> None:
    policy = trained(Vectors(scale=2.0, steering=VectorSteering((0, 1))), tmp_path / "run")
    fresh = tiny.policy(VectorSteering((0, 1)), objectives=made_up.OBJECTIVES)
    total, num = torch.zeros(2, 32), 0
    for record in DATA.train:
        for first in record.responses:
            for second in record.responses:
                if float(first.scores["kind"] or 0) > float(second.scores["kind"] or 0):
                    pairs = [fresh.encoder.pair(record.messages, reply.text) for reply in (first, second)]
                    better, worse = layer_means(fresh, pairs, fresh.reference_coefficients(2), (0, 1))  # type: ignore[arg-type]
                    total, num = total + better - worse, num + 1
    kind = torch.stack([tensor[0] for tensor in policy.steering_state().values()])
    assert torch.allclose(kind, 2.0 * total / num, atol=1e-4)


def test_settings_act_or_raise(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="scale"):
        Vectors(scale=0.0)
    with pytest.raises(ConfigError, match="layer"):
        HiddenContrast(())
    silent = dataclasses.replace(DATA, train=[dataclasses.replace(DATA.train[0], responses=())])
    for method in (Rahf(layers=(0,)), Vectors()):
        policy = tiny.policy(method.new_steering(made_up.OBJECTIVES), objectives=made_up.OBJECTIVES)  # type: ignore[attr-defined]
        with Run(tmp_path / type(method).__name__) as run, pytest.raises(DataError, match="no pair"):
            method.train(policy, silent, run)  # type: ignore[attr-defined]

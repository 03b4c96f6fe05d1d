"""Gradient descent by `fit` finds the closed-form optimum π*_w = π_ref exp(w·r/β)/Z (methods.md F and H)."""

import math

import pytest
import torch
from tabular_policy import GOLDEN_REWARDS, TabularPolicy, golden_policy, objectives

from pluralign.data.condition import Weights
from pluralign.data.group import Group, Preference
from pluralign.data.record import Record, Response, user
from pluralign.losses.dpo import CDPO, DPO
from pluralign.losses.regression import Regression
from pluralign.losses.sft import SFT
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run
from pluralign.training.source import GroupSource
from pluralign.training.tradeoff import TradeOffSource

OPTIMUM = {
    (1.0, 0.0): (0.688221, 0.069855, 0.126591, 0.115332),
    (0.5, 0.5): (0.375632, 0.281724, 0.187816, 0.154828),
    (0.0, 1.0): (0.112174, 0.621644, 0.152460, 0.113722),
}
DESCENT = Optim(steps=300, lr=0.05, warmup=0, weight_decay=0.0, min_lr_ratio=0.0, clip_norm=None, betas=(0.9, 0.99))


def golden_records() -> list[Record]:
    scored = (Response(f"y{y}", {"o0": a, "o1": b}) for y, (a, b) in enumerate(GOLDEN_REWARDS))
    return [Record(user("p0"), tuple(scored))]


def weights(values: tuple[float, float]) -> Weights:
    return Weights({"o0": values[0], "o1": values[1]})


def test_regression_on_drawn_trade_offs_finds_the_optimum_of_every_weight(tmp_path):
    policy = golden_policy()
    source = TradeOffSource(golden_records(), objectives(2), responses_per_step=12, weights_per_step=4)
    with Run(tmp_path / "run") as run:
        result = fit(policy, source, Regression(tau=0.5), run.stage("train"), DESCENT)
    assert result.loss < 1e-7
    for values, optimum in OPTIMUM.items():
        assert policy.probabilities(0, weights(values)) == pytest.approx(optimum, abs=1e-3)


def one_objective(rewards: tuple[float, ...], beta: float, reference: torch.Tensor) -> list[float]:
    values = reference * torch.tensor([reward / beta for reward in rewards]).exp()
    return (values / values.sum()).tolist()


def test_dpo_on_bradley_terry_preferences_finds_the_optimum(tmp_path):
    """Rewards 0, ln 3, 2 ln 3: the odds of the three pairs are 3, 3 and 9, so counts give the exact population."""
    beta, rewards = 0.5, (0.0, math.log(3), 2 * math.log(3))
    odds = {(1, 0): 3, (2, 1): 3, (2, 0): 9}
    preferences = tuple(
        Preference(0, *order)
        for (better, worse), wins in odds.items()
        for order in [(better, worse)] * wins + [(worse, better)]
    )
    group = Group(user("p0"), ("y0", "y1", "y2"), (Weights({"o0": 1.0}),), preferences)
    reference = torch.tensor([0.5, 0.3, 0.2])
    policy = TabularPolicy(reference.log()[None], objectives(1))
    with Run(tmp_path / "run") as run:
        fit(policy, GroupSource([group], 1), DPO(beta), run.stage("train"), DESCENT)
    found = policy.probabilities(0, Weights({"o0": 1.0}))
    assert found == pytest.approx(one_objective(rewards, beta, reference), abs=1e-3)


def test_cdpo_stops_at_the_smoothed_odds_whatever_the_strength(tmp_path):
    group = Group(user("p0"), ("y0", "y1"), (Weights({"o0": 1.0}),), (Preference(0, 0, 1, 100.0),))
    policy = TabularPolicy(torch.tensor([[0.0, 0.0]]), objectives(1))
    with Run(tmp_path / "run") as run:
        result = fit(policy, GroupSource([group], 1), CDPO(), run.stage("train"), DESCENT)
    chosen, rejected = policy.probabilities(0, Weights({"o0": 1.0}))
    assert 0.5 * math.log(chosen / rejected) == pytest.approx(math.log(9), abs=1e-2)
    assert result.loss == pytest.approx(0.32508, abs=1e-4)


def test_sft_finds_the_frequencies_of_the_demonstrations(tmp_path):
    group = Group(user("p0"), ("y0", "y1", "y1", "y2"))
    policy = TabularPolicy(torch.zeros(1, 4), objectives(1), frozen_trunk=False)
    with Run(tmp_path / "run") as run:
        fit(policy, GroupSource([group], 1), SFT(), run.stage("train"), DESCENT)
    assert policy.probabilities(0, None) == pytest.approx([0.25, 0.5, 0.25, 0.0], abs=0.02)
    assert not (tmp_path / "run" / "cache").exists()  # no reference is computed for a loss that needs none

"""MODPO's loss: the golden number, its ends, and its optimum on a finite set of replies."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pluralign.errors import ConfigError
from pluralign.losses.dpo import DPO
from pluralign.losses.modpo import MODPO
from pluralign.losses.outputs import Judgements, Outputs

REFERENCE = torch.tensor([0.4, 0.3, 0.2, 0.1]).double()
REWARDS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.8, 0.7]]).double()


def outputs() -> Outputs:
    """The pair of methods.md H: δ = 1.5, h = .75 at β = .5."""
    return Outputs(torch.tensor([[-10.0], [-12.0]]), torch.tensor([-11.0, -11.5]), torch.tensor([5, 8]))


def judged(margin: float) -> Judgements:
    zero = torch.tensor([0])
    return Judgements(zero, torch.tensor([1]), zero, torch.tensor([margin]))


def test_by_hand() -> None:
    """(.75 − .5 · .4) / .5 = 1.1; −log σ(1.1) = .287335."""
    loss, metrics = MODPO(beta=0.5, weight=0.5)(outputs(), judged(0.5 * 0.4))
    assert loss.tolist() == pytest.approx([0.287335], abs=1e-6)
    assert metrics["h"].tolist() == [0.75]


def test_with_all_the_weight_it_is_dpo() -> None:
    assert MODPO(beta=0.5)(outputs(), judged(0.0))[0].tolist() == DPO(beta=0.5)(outputs(), judged(math.nan))[0].tolist()


@pytest.mark.parametrize("weight", [0.25, 0.5, 0.8])
def test_rewards_that_do_not_tell_the_replies_apart_leave_dpo_with_beta_over_the_weight(weight: float) -> None:
    found = MODPO(beta=0.5, weight=weight)(outputs(), judged(0.0))[0]
    assert found.tolist() == pytest.approx(DPO(beta=0.5 / weight)(outputs(), judged(math.nan))[0].tolist())


def test_a_small_weight_is_not_taken_to_be_smaller_than_the_floor() -> None:
    assert torch.equal(MODPO(weight=0.001)(outputs(), judged(0.1))[0], MODPO(weight=0.05)(outputs(), judged(0.1))[0])
    assert not torch.equal(
        MODPO(weight=0.001, floor=0.01)(outputs(), judged(0.1))[0], MODPO()(outputs(), judged(0.1))[0]
    )


@pytest.mark.parametrize(
    ("weights", "k", "expected"),
    [
        ((1.0, 0.0), 0, (0.688221, 0.069855, 0.126591, 0.115332)),
        ((0.5, 0.5), 0, (0.375632, 0.281724, 0.187816, 0.154828)),
        ((0.5, 0.5), 1, (0.375632, 0.281724, 0.187816, 0.154828)),
        ((0.0, 1.0), 1, (0.112174, 0.621644, 0.152460, 0.113722)),
    ],
)
def test_its_optimum_is_the_weighted_objectives(
    weights: tuple[float, float], k: int, expected: tuple[float, ...]
) -> None:
    """Every pair in both orders, as often as Bradley-Terry of r_k says: π*_w of methods.md F and H (β = .5)."""
    logits = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=300, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        total = _population_loss(logits, weights, k)
        total.backward()
        return total

    optimizer.step(closure)
    assert (REFERENCE.log() + logits).softmax(0).tolist() == pytest.approx(expected, abs=2e-5)


def _population_loss(logits: Tensor, weights: tuple[float, float], k: int) -> Tensor:
    first, second = torch.cartesian_prod(torch.arange(4), torch.arange(4)).T
    own, other = REWARDS[:, k], REWARDS[:, 1 - k] * weights[1 - k]
    found = Outputs((REFERENCE.log() + logits).log_softmax(0)[:, None], REFERENCE.log(), torch.ones(4))
    told = Judgements(first, second, torch.zeros_like(first), other[first] - other[second])
    loss, _ = MODPO(beta=0.5, weight=weights[k])(found, told)
    return (torch.sigmoid(own[first] - own[second]) * loss).sum()


@pytest.mark.parametrize("make", [lambda: MODPO(beta=0.0), lambda: MODPO(weight=1.1), lambda: MODPO(floor=0.0)])
def test_values_out_of_range_are_refused(make: object) -> None:
    with pytest.raises(ConfigError, match="modpo"):
        make()  # type: ignore[operator]


def test_preferences_without_a_margin_are_refused() -> None:
    with pytest.raises(ConfigError, match="margin of the other objectives"):
        MODPO()(outputs(), judged(math.nan))

"""Losses of reward models: numbers by hand, the laws of methods.md D1 to D3."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pluralign.errors import ConfigError
from pluralign.losses.outputs import Judgements, Outputs
from pluralign.losses.reward import BradleyTerry, CrossEntropy, SquaredError

NAN = float("nan")
FINITE = st.floats(-5, 5)


def outputs(*rewards: float) -> Outputs:
    table = torch.tensor(rewards)[:, None]
    return Outputs(table, torch.full((len(rewards),), NAN), torch.ones(len(rewards), dtype=torch.long))


def pair(margin: float = NAN, chosen: int = 0, rejected: int = 1) -> Judgements:
    return Judgements(*(torch.tensor([number]) for number in (chosen, rejected, 0)), torch.tensor([margin]))


def alone(*values: float) -> Judgements:
    num = len(values)
    return Judgements(torch.arange(num), torch.full((num,), -1), torch.zeros(num).long(), torch.tensor(values))


def loss_of(loss: BradleyTerry, won: float, lost: float, margin: float = NAN) -> float:
    return float(loss(outputs(won, lost), pair(margin))[0])


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(
    ("loss", "margin", "expected"),
    [
        (BradleyTerry(), NAN, -math.log(sigmoid(1.5))),
        (BradleyTerry(), 3.0, -math.log(sigmoid(1.5))),
        (BradleyTerry(margin=0.5), 2.0, -math.log(sigmoid(0.5))),
        (BradleyTerry(scaled=True), 3.0, -3 * math.log(sigmoid(1.5))),
        (BradleyTerry(centring=0.01), NAN, -math.log(sigmoid(1.5)) + 0.01 * 2.5**2),
        (BradleyTerry(), 0.0, -0.5 * math.log(sigmoid(1.5)) - 0.5 * math.log(sigmoid(-1.5))),
        (BradleyTerry(margin=0.5), 0.0, -0.5 * math.log(sigmoid(1.5)) - 0.5 * math.log(sigmoid(-1.5))),
        (BradleyTerry(scaled=True), 0.0, 0.0),
    ],
)
def test_bradley_terry_by_hand(loss: BradleyTerry, margin: float, expected: float):
    assert loss_of(loss, 2.0, 0.5, margin) == pytest.approx(expected, abs=1e-6)


@given(FINITE, FINITE, FINITE, st.sampled_from([NAN, 0.0, 1.0, 2.5]))
def test_only_differences_within_a_prompt_count(won: float, lost: float, constant: float, margin: float):
    """r + c(x) has the loss of r (D1)."""
    before, after = (
        loss_of(BradleyTerry(), won, lost, margin),
        loss_of(BradleyTerry(), won + constant, lost + constant, margin),
    )
    assert after == pytest.approx(before, abs=1e-4)


@given(FINITE, FINITE, st.floats(0.1, 3))
def test_scaled_is_linear_in_the_size(won: float, lost: float, size: float):
    scaled = BradleyTerry(scaled=True)
    assert loss_of(scaled, won, lost, size) == pytest.approx(size * loss_of(scaled, won, lost, 1.0), rel=1e-4, abs=1e-6)
    assert loss_of(scaled, won, lost, 1.0) == pytest.approx(loss_of(BradleyTerry(), won, lost, 1.0), abs=1e-6)


@given(FINITE, FINITE)
def test_a_tie_has_no_side_and_is_least_at_equality(first: float, second: float):
    tied = loss_of(BradleyTerry(), first, second, 0.0)
    assert tied == pytest.approx(loss_of(BradleyTerry(), second, first, 0.0), abs=1e-6)
    assert tied >= math.log(2) - 1e-6


def test_accuracy_counts_a_tie_half():
    judged = Judgements(
        torch.tensor([0, 1, 0]), torch.tensor([1, 0, 1]), torch.zeros(3).long(), torch.tensor([1.0, 1.0, 0.0])
    )
    assert BradleyTerry()(outputs(2.0, 0.5), judged)[1]["accuracy"].tolist() == [1.0, 0.0, 0.5]


def test_what_bradley_terry_refuses():
    with pytest.raises(ConfigError, match="by how much"):
        BradleyTerry(scaled=True)(outputs(1.0, 0.0), pair())
    with pytest.raises(ConfigError, match="opponent"):
        BradleyTerry()(outputs(1.0, 0.0), pair(rejected=-1))
    for options in ({"margin": -1.0}, {"centring": math.inf}):
        with pytest.raises(ConfigError, match="from 0"):
            BradleyTerry(**options)


def test_squared_error_ignores_what_is_missing():
    rewards = torch.tensor([[1.0], [5.0]], requires_grad=True)
    given_to = Outputs(rewards, torch.full((2,), NAN), torch.ones(2).long())
    loss, metrics = SquaredError()(given_to, alone(3.0, NAN))
    assert loss.tolist() == [4.0, 0.0]
    assert metrics["error"].tolist() == [2.0, 0.0]
    loss.sum().backward()
    assert rewards.grad is not None
    assert rewards.grad.tolist() == [[-4.0], [0.0]]


def test_cross_entropy_by_hand():
    logprobs = [math.log(0.25), math.log(0.5)]
    loss, metrics = CrossEntropy()(outputs(*logprobs), alone(NAN, 0.5))
    assert loss.tolist() == pytest.approx([math.log(4), 0.5 * math.log(2)])
    assert metrics["probability"].tolist() == pytest.approx([0.25, 0.5])

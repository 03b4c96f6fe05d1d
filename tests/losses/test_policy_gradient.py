"""The policy gradient: −A log π, and its gradient on a finite response set."""

from __future__ import annotations

import math

import pytest
import torch

from pluralign.errors import ConfigError
from pluralign.losses.outputs import Judgements, Outputs
from pluralign.losses.policy_gradient import PolicyGradient


def judged(advantages: list[float], chosen: list[int] | None = None) -> Judgements:
    num = len(advantages)
    rows = torch.tensor(chosen if chosen is not None else range(num))
    return Judgements(rows, torch.full((num,), -1), torch.zeros(num, dtype=torch.long), torch.tensor(advantages))


def test_by_hand():
    outputs = Outputs(torch.tensor([[-2.0], [-3.0]]), torch.tensor([-2.5, -2.0]).double(), torch.tensor([3, 4]))
    loss, metrics = PolicyGradient()(outputs, judged([0.5, -1.5]))
    assert loss.tolist() == [1.0, -4.5]
    assert metrics["rho"].tolist() == [0.5, -1.0]
    assert metrics["advantage"].tolist() == [0.5, -1.5]


def test_the_expected_gradient_is_that_of_the_objective():
    """Σ_y π(y) ∂L(y)/∂logit = −π(y)(G(y) − J) for A = G − b, whatever b (methods.md C2)."""
    logits = torch.tensor([0.3, -1.0, 0.7, 0.1], requires_grad=True)
    returns = torch.tensor([1.0, -2.0, 0.5, 3.0])
    logprobs = logits.log_softmax(-1)
    outputs = Outputs(logprobs[:, None], torch.zeros(4).double(), torch.ones(4))
    loss, _ = PolicyGradient()(outputs, judged((returns - 0.7).tolist()))
    probabilities = logprobs.detach().exp()
    (grad,) = torch.autograd.grad((probabilities * loss).sum(), logits)
    expected = -probabilities * (returns - probabilities @ returns)
    assert torch.allclose(grad, expected, atol=1e-6)


def test_replies_without_an_advantage_are_refused():
    outputs = Outputs(torch.tensor([[-2.0]]), torch.tensor([-2.0]).double(), torch.tensor([3]))
    with pytest.raises(ConfigError, match="advantage"):
        PolicyGradient()(outputs, judged([math.nan]))

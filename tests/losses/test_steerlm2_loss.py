"""SteerLM 2.0's loss: the golden value, its gradient, and that the posterior is where it rests."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pluralign.errors import ConfigError
from pluralign.losses.outputs import Judgements, Outputs
from pluralign.losses.steerlm2 import PosteriorKL


def judged(log_w: list[float], drawn: list[float]) -> Judgements:
    """Every sample twice: log w, then log Q'."""
    num = len(log_w)
    rows = torch.arange(num).repeat(2)
    return Judgements(rows, torch.full((2 * num,), -1), (torch.arange(2 * num) >= num).long(), torch.tensor(log_w + drawn))  # fmt: skip


def outputs(logprobs: Tensor, groups: list[int] | None = None) -> Outputs:
    num = len(logprobs)
    owners = None if groups is None else torch.tensor(groups)
    return Outputs(logprobs[:, None].repeat(1, 2), torch.zeros(num).double(), torch.ones(num, dtype=torch.long), owners)


def test_golden() -> None:
    """methods.md H: log w = (.2, 1, −.5), log b = (0, .3, 0)."""
    drawn = [-3.0, -4.0, -5.0]
    loss, metrics = PosteriorKL()(outputs(torch.tensor(drawn) + torch.tensor([0.0, 0.3, 0.0])), judged([0.2, 1.0, -0.5], drawn))  # fmt: skip
    assert loss.tolist() == pytest.approx([0.100194] * 6, abs=1e-6)
    shares = torch.tensor([0.268664, 0.597922, 0.133414])
    assert metrics["samples"].tolist() == pytest.approx([float(1 / (shares**2).sum())] * 6, rel=1e-4)


def test_the_gradient_is_b_minus_w_and_prompts_are_apart() -> None:
    drawn, log_w = [-3.0, -4.0, -5.0, -1.0, -2.0], [0.2, 1.0, -0.5, 0.0, 0.0]
    logprobs = (torch.tensor(drawn) + torch.tensor([0.0, 0.3, 0.0, 0.0, 0.0])).requires_grad_()
    loss, _ = PosteriorKL()(outputs(logprobs, [4, 4, 4, 7, 7]), judged(log_w, drawn))
    assert loss.tolist() == pytest.approx([0.100194] * 3 + [0.0] * 2 + [0.100194] * 3 + [0.0] * 2, abs=1e-6)
    (grad,) = torch.autograd.grad(loss[0], logprobs)
    expected = [0.298520 - 0.268664, 0.402960 - 0.597922, 0.298520 - 0.133414, 0.0, 0.0]  # b' − w'
    assert grad.tolist() == pytest.approx(expected, abs=1e-5)


def test_at_the_start_b_is_uniform_and_equal_weights_leave_nothing_to_do() -> None:
    logprobs = torch.tensor([-3.0, -4.0, -50.0], requires_grad=True)
    loss, metrics = PosteriorKL()(outputs(logprobs), judged([1.0] * 3, logprobs.tolist()))
    (grad,) = torch.autograd.grad(loss.sum(), logprobs)
    assert loss.tolist() == pytest.approx([0.0] * 6, abs=1e-6)
    assert grad.tolist() == pytest.approx([0.0] * 3, abs=1e-6)
    assert metrics["samples"].tolist() == pytest.approx([3.0] * 6, rel=1e-5)


def test_a_temper_flattens() -> None:
    drawn = [-3.0, -4.0, -5.0]
    same = PosteriorKL(temper=4.0)(outputs(torch.tensor(drawn)), judged([0.8, 4.0, -2.0], drawn))[0]
    plain = PosteriorKL()(outputs(torch.tensor(drawn)), judged([0.2, 1.0, -0.5], drawn))[0]
    assert same.tolist() == pytest.approx(plain.tolist(), abs=1e-6)


def test_on_a_finite_response_set_it_ends_at_the_bayes_posterior() -> None:
    """All four responses are samples: Q_θ goes to P(a|y) P(y) / Σ, wherever Q' stood (methods.md A10)."""
    prior, likelihood = torch.tensor([0.4, 0.3, 0.2, 0.1]), torch.tensor([0.1, 0.2, 0.9, 0.5])
    logits = torch.tensor([0.5, -0.2, 0.1, 0.0], requires_grad=True)
    drawn = logits.detach().log_softmax(0)
    told = judged((likelihood.log() + prior.log() - drawn).tolist(), drawn.tolist())
    optimizer = torch.optim.LBFGS([logits], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = PosteriorKL()(outputs(logits.log_softmax(0)), told)[0].mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    posterior = prior * likelihood / (prior * likelihood).sum()
    assert torch.allclose(logits.detach().softmax(0), posterior, atol=1e-3)


def test_without_both_values_it_refuses() -> None:
    with pytest.raises(ConfigError, match="two values each"):
        PosteriorKL()(outputs(torch.zeros(2)), judged([0.0, float("nan")], [0.0, 0.0]))
    single = Judgements(torch.arange(2), torch.full((2,), -1), torch.zeros(2, dtype=torch.long), torch.zeros(2))
    with pytest.raises(ConfigError, match="two values each"):
        PosteriorKL()(outputs(torch.zeros(2)), single)
    with pytest.raises(ConfigError, match="temper"):
        PosteriorKL(temper=0.0)

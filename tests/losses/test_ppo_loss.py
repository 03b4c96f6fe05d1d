"""PPO's loss: the clip by hand, and the policy gradient where nothing has moved."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pluralign.errors import ConfigError
from pluralign.losses.outputs import Judgements, TokenOutputs
from pluralign.losses.ppo import PPO


def seen(logprobs: Tensor, rows: list[int], **series: list[float]) -> TokenOutputs:
    """Replies under one condition; token log-probabilities [N] of rows [N]."""
    at, num = torch.tensor(rows), max(rows) + 1
    summed = torch.zeros(num).index_add(0, at, logprobs)
    lengths = torch.bincount(at)
    told = {name: torch.tensor(values) for name, values in series.items()}
    return TokenOutputs(summed[:, None], torch.zeros(num), lengths, rows=at, token_logprobs=logprobs, entropy=torch.zeros(len(rows)), series=told)  # fmt: skip


def every(num: int) -> Judgements:
    return Judgements(torch.arange(num), torch.full((num,), -1), torch.zeros(num, dtype=torch.long), torch.full((num,), math.nan))  # fmt: skip


def test_by_hand() -> None:
    """u = 1.5, .5, 1.1 | .5: with A = 1, 1, 2 | −1 the gains are 1.2, .5, 2.2 | −.8 (the first and the last are held)."""
    now = torch.tensor([1.5, 0.5, 1.1, 0.5]).log() - 1
    loss, metrics = PPO()(seen(now, [0, 0, 0, 1], advantage=[1.0, 1.0, 2.0, -1.0], old=[-1.0] * 4, log_ratio=[0.1, 0.2, 0.3, 0.5]), every(2))  # fmt: skip
    assert loss.tolist() == pytest.approx([-3.9, 0.8])
    assert metrics["clipped"].tolist() == [1.0, 1.0]
    assert metrics["moved"].tolist() == pytest.approx([math.log(1.5 * 0.5 * 1.1), math.log(0.5)])
    assert metrics["rho"].tolist() == pytest.approx([0.6, 0.5])


def test_a_probability_that_has_moved_far_enough_has_no_gradient() -> None:
    """Up by more than ε for a good token, down by more than ε for a bad one; the way back is open."""
    now = (torch.tensor([1.3, 1.3, 0.7, 0.7]).log() - 1).requires_grad_()
    loss, _ = PPO()(seen(now, [0, 0, 0, 0], advantage=[1.0, -1.0, 1.0, -1.0], old=[-1.0] * 4), every(1))
    (grad,) = torch.autograd.grad(loss.sum(), now)
    assert grad.tolist() == pytest.approx([0.0, 1.3, -0.7, 0.0])


def test_at_the_sampler_its_gradient_is_the_policy_gradients() -> None:
    now = torch.tensor([-0.5, -1.0, -2.0], requires_grad=True)
    advantage = [0.3, -1.2, 2.0]
    loss, _ = PPO()(seen(now, [0, 0, 1], advantage=advantage, old=[-0.5, -1.0, -2.0]), every(2))
    (grad,) = torch.autograd.grad(loss.sum(), now)
    assert grad.tolist() == pytest.approx([-each for each in advantage])


@pytest.mark.parametrize("series", [{}, {"advantage": [1.0]}, {"advantage": [math.nan], "old": [-1.0]}])
def test_tokens_without_an_advantage_are_refused(series: dict[str, list[float]]) -> None:
    with pytest.raises(ConfigError, match="ppo needs an advantage"):
        PPO()(seen(torch.tensor([-1.0]), [0], **series), every(1))


@pytest.mark.parametrize("clip", [0.0, 1.0, -0.2, math.nan])
def test_a_clip_out_of_range_is_refused(clip: float) -> None:
    with pytest.raises(ConfigError, match="clip"):
        PPO(clip=clip)

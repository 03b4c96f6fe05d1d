"""The plausibility mask of contrastive decoding: only what the first member of a request finds likely may be said.

    V_head = {v : p(v) ≥ κ max_v p(v)}        elsewhere the score is −∞

Differences of log-probabilities are as large for tokens that nobody would say as for others, and large coefficients
make them win: the mask keeps them out (Li et al. 2022, arXiv 2210.15097; methods.md A18, A25).
"""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

from pluralign.errors import ConfigError


def check_plausibility(kappa: float) -> None:
    """ConfigError unless κ is in [0, 1]."""
    if not 0 <= kappa <= 1:
        raise ConfigError(f"plausibility is a share of the likeliest token's probability, 0 to 1; got {kappa}")


def plausible(scores: Tensor, logprobs: Tensor, owners: Tensor, kappa: float) -> Tensor:
    """`scores` [num, V] with −∞ for what the first member of a request leaves out; logprobs [M, V], owners [M].

    Where one member answers alone there is no contrast, and nothing is left out.
    """
    if kappa == 0:
        return scores
    places = torch.arange(len(owners), device=owners.device)
    first = torch.full((len(scores),), len(owners), device=owners.device).scatter_reduce(0, owners, places, "amin")
    expert = logprobs[first]
    out = expert < expert.amax(-1, keepdim=True) + log(kappa)
    alone = owners.bincount(minlength=len(scores)) == 1
    return scores.masked_fill(out & ~alone[:, None], -torch.inf)

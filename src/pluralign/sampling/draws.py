"""Draws: one random number per (request seed, token), so that a reply does not depend on the batch it was made in."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pluralign.errors import ConfigError

NUCLEUS = 64
"""Tokens that are looked at first for the nucleus; sorting a whole vocabulary costs more than a step of a small model."""


def uniforms(seed: int, count: int) -> np.ndarray:
    """Numbers in [0, 1) for the tokens of one reply, float64 [count]: a function of the seed alone (Philox)."""
    if not 0 <= seed < 2**128:
        raise ConfigError(f"a seed is an integer in [0, 2^128), got {seed}")
    return np.random.Generator(np.random.Philox(key=seed)).random(count)


def distribution(logits: Tensor, temperature: Tensor, top_p: Tensor) -> Tensor:
    """Log-probabilities that tokens are drawn from, float32 [R, V].

    logits [R, V]; temperature [R] > 0 divides them; then only the smallest set of tokens whose mass reaches top_p
    [R] is kept (nucleus sampling), renormalised.
    """
    logprobs = torch.log_softmax(logits.float() / temperature[:, None], dim=-1)
    cut = (top_p < 1.0).nonzero()[:, 0]
    if len(cut):
        whole = logprobs[cut]
        logprobs[cut] = torch.log_softmax(whole.masked_fill(~_nucleus(whole, top_p[cut]), -torch.inf), dim=-1)
    return logprobs


def _nucleus(logprobs: Tensor, top_p: Tensor) -> Tensor:
    """Which tokens belong to the nucleus [R, V]; a few likely ones hold it nearly always."""
    num = min(NUCLEUS, logprobs.shape[1])
    while True:
        best = logprobs.topk(num, dim=-1)
        probs = best.values.exp()
        before = probs.cumsum(-1) - probs
        if num == logprobs.shape[1] or bool((before[:, -1] >= top_p).all()):
            return torch.zeros_like(logprobs, dtype=torch.bool).scatter(-1, best.indices, before < top_p[:, None])
        num = min(8 * num, logprobs.shape[1])


def draw(logprobs: Tensor, uniform: Tensor) -> Tensor:
    """The token where the cumulative distribution passes `uniform` [R]: logprobs [R, V] -> [R] (inverse CDF)."""
    cumulative = logprobs.double().exp().cumsum(-1)
    threshold = uniform.double()[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, threshold, right=True).squeeze(-1).clamp_max(logprobs.shape[-1] - 1)

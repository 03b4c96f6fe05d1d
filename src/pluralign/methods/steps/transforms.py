"""Transforms of rewards before they are added up: the log-sigmoid, whose sum is a logical AND.

    u_i = log σ(r_i − r_ref),   Σ_i u_i = log Π_i p(G_i = 1)                  du/dr = σ(r_ref − r)

Source: Z. Wang et al. 2024, arXiv 2402.00742 (methods.md C5). p(G_i = 1) is the Bradley-Terry probability that a reply is
good on i, better than a reply of reward r_ref. Above r_ref there is little left to gain, below it u is linear: what is bad
on one objective is not made up for by another. Differs from the paper: r_ref is a number of standard deviations above the
reference's mean (its 85th percentile, were its rewards normal), the same for all prompts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import log_expit

from pluralign.errors import ConfigError
from pluralign.methods.steps.online import Array


@dataclass(frozen=True)
class LogSigmoid:
    """`reference`: r_ref in standard deviations above the mean (1.04: the 85th percentile of a normal); `slope` (> 0):
    logits of "is good" per standard deviation."""

    reference: float = 1.04
    slope: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.reference) and 0 < self.slope < float("inf")):
            raise ConfigError(f"transform: reference is finite and slope above 0, got {self}")

    def __call__(self, rewards: Array) -> Array:
        """u of standardised rewards [N, K], each below 0; NaN stays."""
        return np.asarray(log_expit(self.slope * (np.asarray(rewards) - self.reference)))

"""Mixture steering: the condition enters the logits of several rows, each run apart (MOD, DeRA).

    reverse KL   g(v) = log π_0(v) + s Σ_i w_i (log π_i(v) − log π_0(v))       (Σw = 1, s = 1: Σ_i w_i log π_i)
    forward KL   g(v) = − log Σ_i w_i / π_i(v)
    α            g(v) = − (1/α) log Σ_i w_i π_i(v)^−α          (the paper ranks by it, without 1/α; drawing needs it)

Source: Shi et al. 2024, arXiv 2406.18853 (methods.md A7), decoding-time alignment of several objectives by the
f-divergence that the members were trained with; with a strength s and one objective it is DeRA (Liu et al. 2024,
arXiv 2402.02992; A8): s = 0 is the reference, s = 1 the expert. A member is the base with one objective's change,
so that all of them live in one model; each keeps a cache of its own while decoding.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pluralign.data.condition import Condition, one_hot, vector
from pluralign.data.objective import Objective
from pluralign.errors import ConditionError, ConfigError, ModelError
from pluralign.steering.weighted import WeightedSteering

_NOTHING = 1e-9


@dataclass
class MixtureSteering(WeightedSteering):
    """One expert per objective; the asked weights mix their next-token distributions."""

    kind: ClassVar[str] = "mixture"

    divergence: Literal["reverse_kl", "forward_kl", "alpha"] = "reverse_kl"
    """reverse_kl: geometric mean; forward_kl: harmonic mean; alpha: the mean of order −alpha"""
    alpha: float = 0.5
    """order of divergence=alpha, above 0 (1 is forward_kl; towards 0, reverse_kl)"""

    def __post_init__(self) -> None:
        if self.divergence not in ("reverse_kl", "forward_kl", "alpha"):
            raise ConfigError(f"divergence is reverse_kl, forward_kl or alpha, got {self.divergence!r}")
        if not 0 < self.alpha < float("inf"):
            raise ConfigError(f"alpha must be a finite number above 0, got {self.alpha}")

    def members(self, condition: Condition | None) -> list[tuple[Condition | None, float]]:
        """An expert per weighted objective, and the reference where the shares leave it one. ConditionError where the
        divergence has no such mean (it needs weights from 0, summing to 1, strength 1)."""
        if condition is None:
            return [(None, 1.0)]
        weights = self.translate(condition, self._objectives)
        shares = vector(weights, self._objectives)
        rest = 1.0 - float(shares.sum())
        if self.divergence != "reverse_kl" and (abs(rest) > 1e-6 or shares.min() < 0):
            raise ConditionError(
                f"a {self.divergence} mixture needs weights from 0 that sum to 1, and strength 1; got {condition}. "
                "divergence=reverse_kl takes any"
            )
        found: list[tuple[Condition | None, float]] = [
            (one_hot(objective.name), float(share))
            for objective, share in zip(self._objectives, shares, strict=True)
            if abs(share) > _NOTHING
        ]
        return found + [(None, rest)] * (abs(rest) > 1e-6)

    def coefficients(self, conditions: Sequence[Condition | None], objectives: Sequence[Objective]) -> Tensor:
        """[R, K + 2] of single members; ConditionError for a condition of several, which no one row can answer."""
        for condition in conditions:
            if condition is not None and [share for _, share in self.members(condition)] != [1.0]:
                raise ConditionError(
                    f"{condition} is answered by several models together: sample, or ask policy.logprobs"
                )
        return super().coefficients(conditions, objectives)

    def combine(self, logprobs: Tensor, shares: Tensor, owners: Tensor, num: int) -> Tensor:
        """Log-probabilities [M, V] of the members -> unnormalised ones [num, V] of the requests (owners [M])."""
        if self.divergence == "reverse_kl":
            return super().combine(logprobs, shares, owners, num)
        order = self.alpha if self.divergence == "alpha" else 1.0
        terms = shares.to(logprobs).log()[:, None] - order * logprobs
        total = terms.new_full((num, terms.shape[1]), -torch.inf)
        for rows in _one_of_each(owners):
            total[owners[rows]] = torch.logaddexp(total[owners[rows]], terms[rows])
        return -total / order

    def check_merge(self, condition: Condition | None) -> None:
        """ModelError unless one member answers alone: a mean of distributions is in no single model's weights."""
        if len(self.members(condition)) > 1:
            raise ModelError(
                f"a mixture of {len(self.members(condition))} models has no merged weights; ask for one objective "
                "alone, or train soups, which mix the weights themselves"
            )


def _one_of_each(owners: Tensor) -> Iterator[Tensor]:
    """The first row of every owner, then the second of every owner that has one, and so on."""
    order = owners.argsort(stable=True)
    counts = owners.bincount()
    starts = (counts.cumsum(0) - counts)[owners[order]]
    place = torch.arange(len(owners), device=owners.device) - starts
    for number in range(int(counts.max())):
        yield order[place == number]

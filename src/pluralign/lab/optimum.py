"""The exact yardstick: what the best possible policy would earn under every weight, and at what KL.

A reward that depends on a reply only through its score vector s has the optimum in closed form (methods.md F):
π*_λ(s) ∝ π_ref(s) exp(λ·s / β_r), with value V*(λ) = β_r log Σ π_ref(s) exp(λ·s / β_r). So a reference is a short
table of distinct score vectors with their probabilities, either exact (`grammar_reference`) or counted from
samples of a language model (`sample_reference`). numpy only; nothing is drawn at random.

Letters: M distinct score vectors, K objectives, L weights. KL and values are per reply; KL in nats, values in points.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import product
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pluralign.errors import ConfigError
from pluralign.lab.grammar import (
    CAUTION_PROBABILITIES,
    FORMAL_PROBABILITIES,
    JOKE_PROBABILITIES,
    MAX_SENTENCES,
    STEP_PROBABILITIES,
    WARM_PROBABILITIES,
    Counts,
)
from pluralign.lab.scoring import CONCISE_BY_SENTENCES, rounded_share

Array = NDArray[np.float64]
BETA = 0.25
CONSERVATIVE_BETA = 0.5
_BISECTIONS = 60
_SMALLEST_BETA, _LARGEST_BETA = 1e-3, 1e4


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Distinct score vectors [M, K] and their probabilities [M] (positive, sum 1) under the reference policy.

    `num_samples` is the number of draws behind the table, None when it is exact.
    """

    scores: Array
    probabilities: Array
    num_samples: int | None = None

    def __post_init__(self) -> None:
        scores, chances = self.scores, self.probabilities
        if scores.ndim != 2 or chances.shape != scores.shape[:1] or not len(chances):
            raise ConfigError(
                f"a reference needs scores [M, K] and probabilities [M], got {scores.shape}, {chances.shape}"
            )
        if not (np.isfinite(scores).all() and (chances > 0).all() and abs(chances.sum() - 1) < 1e-9):
            raise ConfigError("a reference needs finite scores and positive probabilities that sum to 1")

    @property
    def base(self) -> Array:
        """E[s] under the reference, [K]."""
        return self.probabilities @ self.scores

    def optimum(self, weights: ArrayLike, beta_r: float = BETA) -> Optimum:
        """The optimal policies for `weights` [L, K] (any real numbers) at `beta_r` > 0, in the units of λ·s."""
        return optimum(self, weights, beta_r)


@dataclass(frozen=True, slots=True, eq=False)
class Optimum:
    """The optimal policies for L weights at one β_r. `ess` is the effective sample size of each (nan when exact)."""

    beta: float
    probabilities: Array  # [L, M]
    scores: Array  # E[s], [L, K]
    utility: Array  # E[λ·s], [L]
    kl: Array  # KL(π* || π_ref), [L]
    value: Array  # V* = utility - β_r KL, [L]
    fluency: Array  # P(any point at all), [L]: in the lab exactly the grammatical replies have one
    ess: Array  # [L]


def grammar_reference() -> Reference:
    """The lab's grammar, by enumeration of the counts and of the number of formal sentences. Exact."""
    table: dict[tuple[int, ...], float] = defaultdict(float)
    for numbers in product(range(5), repeat=4):
        counts = Counts(*numbers)
        if counts.sentences <= MAX_SENTENCES:
            for formal, chance in enumerate(_formal_distribution(counts.styled)):
                table[_scores(counts, formal)] += _count_probability(counts) * chance
    vectors = sorted(table)
    chances = np.array([table[vector] for vector in vectors])
    return Reference(np.array(vectors, dtype=np.float64), chances / chances.sum())


def _count_probability(counts: Counts) -> float:
    return (
        STEP_PROBABILITIES[counts.steps]
        * WARM_PROBABILITIES[counts.warm]
        * CAUTION_PROBABILITIES[counts.cautions]
        * JOKE_PROBABILITIES[counts.jokes]
    )


def _formal_distribution(styled: int) -> list[float]:
    """P(number of formal sentences = 0..styled): a mixture of binomials over the reply's style."""
    return [
        sum(comb(styled, num) * p**num * (1 - p) ** (styled - num) for p in FORMAL_PROBABILITIES)
        / len(FORMAL_PROBABILITIES)
        for num in range(styled + 1)
    ]


def _scores(counts: Counts, formal: int) -> tuple[int, ...]:
    return (
        counts.steps,
        CONCISE_BY_SENTENCES[counts.sentences],
        counts.warm,
        counts.jokes,
        rounded_share(formal, counts.sentences),
        counts.cautions,
    )


def sample_reference(scores: ArrayLike) -> Reference:
    """The histogram of sampled score vectors [N, K]: the language model itself as reference, self-normalised.

    Trust it for β_r >= .25 with some 6,000 samples; below, a handful of samples carries the optimum (see `ess`).
    """
    drawn = np.asarray(scores, dtype=np.float64)
    if drawn.ndim != 2 or not len(drawn) or not np.isfinite(drawn).all():
        raise ConfigError(f"samples must be a non-empty, finite array [N, K], got shape {drawn.shape}")
    vectors, counts = np.unique(drawn, axis=0, return_counts=True)
    return Reference(vectors, counts / counts.sum(), len(drawn))


def optimum(reference: Reference, weights: ArrayLike, beta: float = BETA) -> Optimum:
    """The optimal policies for `weights` [L, K] (any real numbers) at `beta` > 0, in the units of λ·s."""
    if not beta > 0:
        raise ConfigError(f"beta must be positive, got {beta}")
    grid = _grid(reference, weights)
    tilt = grid @ reference.scores.T / beta
    top = tilt.max(axis=1, keepdims=True)
    unnormalised = np.exp(tilt - top) * reference.probabilities
    total = unnormalised.sum(axis=1, keepdims=True)
    policy = unnormalised / total
    value = beta * (top + np.log(total))[:, 0]
    expected = policy @ reference.scores
    utility = (grid * expected).sum(axis=1)
    kl = np.maximum((utility - value) / beta, 0.0)
    ess = (1.0 / (policy**2 / reference.probabilities).sum(axis=1)) * (reference.num_samples or np.nan)
    fluency = policy @ reference.scores.any(axis=1)
    return Optimum(beta, policy, expected, utility, kl, value, fluency, ess)


def _grid(reference: Reference, weights: ArrayLike) -> Array:
    grid = np.atleast_2d(np.asarray(weights, dtype=np.float64))
    if grid.shape[1] != reference.scores.shape[1]:
        raise ConfigError(f"weights for {grid.shape[1]} objectives, but the reference has {reference.scores.shape[1]}")
    return grid


def at_kl(reference: Reference, weights: ArrayLike, kl: float) -> Optimum:
    """The optimum whose KL, averaged over `weights` [L, K], is `kl` nats (or the most that can be reached).

    The mean KL falls as β_r grows, so β_r is found by bisection on its logarithm. Pass one weight for one weight.
    """
    if not kl >= 0:
        raise ConfigError(f"kl must be at least 0, got {kl}")
    low, high = np.log(_SMALLEST_BETA), np.log(_LARGEST_BETA)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if optimum(reference, weights, float(np.exp(middle))).kl.mean() > kl:
            low = middle
        else:
            high = middle
    return optimum(reference, weights, float(np.exp(high)))


def utility_gain(reference: Reference, weights: ArrayLike, found: Optimum) -> float:
    """Mean over the weights of λ·(E[s] of the optimum - E[s] of the reference)."""
    return float((found.utility - _grid(reference, weights) @ reference.base).mean())


def efficiency(reference: Reference, weights: ArrayLike, gain: float, kl: float) -> float | None:
    """A policy's mean utility gain as a share of the optimum's at the same mean KL (1 is the best possible).

    None where the share means nothing: the KL is so small that the optimum itself gains under .001 points.
    """
    best = utility_gain(reference, weights, at_kl(reference, weights, max(kl, 0.0)))
    return gain / best if best >= 1e-3 else None


def regret(reference: Reference, weights: ArrayLike, utility: ArrayLike, kl: ArrayLike, beta: float = BETA) -> Array:
    """V*(λ) - (utility - β_r KL) for each weight, [L], in points; at least 0 up to sampling error."""
    earned = np.asarray(utility, dtype=np.float64) - beta * np.asarray(kl, dtype=np.float64)
    found: Array = optimum(reference, weights, beta).value - earned
    return found

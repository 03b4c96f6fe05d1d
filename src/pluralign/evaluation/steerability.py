"""Steerability: does a score go up when its objective is asked for, and do the others stay right?

Sources: methods.md E5a, E5b and J7; lab.md 'Definitions'. Letters: G weights of a grid, K objectives. Every function
takes leading batch axes (`...`, e.g. bootstrap replicates) and keeps the units of the scores.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from pluralign.errors import ConfigError

Floats = NDArray[np.float64]


def one_hot_rows(weights: Floats) -> NDArray[np.intp]:
    """For each objective, the row of `weights` [G, K] that asks for it alone: [K]. ConfigError where none does."""
    identity = np.eye(weights.shape[1])
    matches = np.all(np.isclose(weights[None, :, :], identity[:, None, :]), axis=2)
    missing = [int(j) for j in np.flatnonzero(~np.any(matches, axis=1))]
    if missing:
        raise ConfigError(f"the grid of weights has no one-hot for objective number {missing}; add one per objective")
    return np.asarray(np.argmax(matches, axis=1))


def gains(weights: Floats, scores: Floats, base: Floats) -> Floats:
    """E[s_j | one-hot j] - E[s_j | base] for every j: [..., K], from scores [..., G, K] and base [..., K]."""
    return np.asarray(np.diagonal(cross_matrix(weights, scores), axis1=-2, axis2=-1) - base)


def spearman(weights: Floats, scores: Floats) -> Floats:
    """Spearman correlation of λ_j with s_j over the grid, per objective: [..., K].

    Ties share their mean rank. NaN where a score or a weight is the same on the whole grid: no correlation exists.
    """
    asked = _standard_ranks(np.broadcast_to(weights, scores.shape))
    return np.asarray((asked * _standard_ranks(scores)).mean(axis=-2))


def _standard_ranks(values: Floats) -> Floats:
    # Means of equal numbers differ in the last bits when they are summed in another order; those are ties.
    ranks = rankdata(np.round(values, 10), axis=-2)
    centred = ranks - ranks.mean(axis=-2, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=-2, keepdims=True))
    return np.asarray(centred / np.where(deviation > 0, deviation, np.nan))


def cross_matrix(weights: Floats, scores: Floats) -> Floats:
    """M[i, j] = score on j when only i is asked for: [..., K, K] (methods.md E5b)."""
    return np.asarray(scores)[..., one_hot_rows(weights), :]


def diagonal_right(matrix: Floats) -> NDArray[np.bool_]:
    """Whether column j is largest at row j, strictly: [..., K] from a cross matrix [..., K, K]."""
    size = matrix.shape[-1]
    others = np.where(np.eye(size, dtype=bool), -np.inf, matrix).max(axis=-2)
    return np.asarray(np.diagonal(matrix, axis1=-2, axis2=-1) > others)


def selectivity(matrix: Floats) -> Floats:
    """Mean over i of (M[i, i] - mean of M[i', i] over i' ≠ i) / std_i: [...] (methods.md E5b, J7).

    std_i is the population deviation of column i over the one-hot rows; NaN if a column is constant. Unit-free.
    """
    size = matrix.shape[-1]
    diagonal = np.diagonal(matrix, axis1=-2, axis2=-1)
    others = (matrix.sum(axis=-2) - diagonal) / max(size - 1, 1)
    deviation = matrix.std(axis=-2)
    return np.asarray(((diagonal - others) / np.where(deviation > 1e-12, deviation, np.nan)).mean(axis=-1))


def inversions(path: Floats) -> Floats:
    """Share of adjacent steps of a sweep at which the score falls: [...] from a path [..., S]. 0 is monotone."""
    steps = np.diff(path, axis=-1)
    return np.asarray((steps < 0).mean(axis=-1) if steps.shape[-1] else np.full(steps.shape[:-1], np.nan))


def largest_drop(path: Floats) -> Floats:
    """How far a sweep ever falls below its own earlier maximum: [...] ≥ 0, in units of the score.

    A sweep is monotone up to a tolerance when this is at most the tolerance (lab.md §7 E: .15).
    """
    return np.asarray((np.maximum.accumulate(path, axis=-1) - path).max(axis=-1))


def sweep_range(path: Floats) -> Floats:
    """Largest minus smallest score of a sweep: [...] (methods.md E5e)."""
    return np.asarray(np.ptp(path, axis=-1))

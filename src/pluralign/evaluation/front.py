"""Fronts: which points are best, how near two fronts are, how evenly points lie. Larger is better on every axis.

Source: methods.md E4 and J7. Points are [N, m]; normalise axes to one unit before mixing them in a distance.
Volume is in `hypervolume.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pluralign.errors import ConfigError

Floats = NDArray[np.float64]


def points_of(points: Floats) -> Floats:
    """`points` as finite float64 [N, m]; ConfigError for another shape, NaN or infinity."""
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] == 0 or not np.isfinite(array).all():
        raise ConfigError(f"a front is a finite array [points, objectives], got shape {array.shape}")
    return array


def non_dominated(points: Floats) -> NDArray[np.bool_]:
    """Which points no other point dominates (≥ everywhere, > somewhere): [N]. Equal points keep each other."""
    array = points_of(points)
    at_least = (array[:, None, :] >= array[None, :, :]).all(axis=2)
    above = (array[:, None, :] > array[None, :, :]).any(axis=2)
    return np.asarray(~(at_least & above).any(axis=0))


def igd(obtained: Floats, target: Floats) -> float:
    """Mean over target points of the Euclidean distance to the nearest obtained one; 0 when all are reached."""
    return float(_distances(obtained, target, plus=False).min(axis=1).mean())


def igd_plus(obtained: Floats, target: Floats) -> float:
    """As `igd`, counting only axes on which the obtained point falls short: max(0, target - obtained)."""
    return float(_distances(obtained, target, plus=True).min(axis=1).mean())


def _distances(obtained: Floats, target: Floats, plus: bool) -> Floats:
    short = points_of(target)[:, None, :] - points_of(obtained)[None, :, :]
    return np.asarray(np.sqrt(((np.maximum(short, 0.0) if plus else short) ** 2).sum(axis=2)))


def r2(points: Floats, weights: Floats, ideal: Floats) -> float:
    """R2 indicator: mean over weights w of min over points a of max_i w_i (ideal_i - a_i); lower is better."""
    short = np.asarray(ideal, dtype=np.float64) - points_of(points)
    return float((np.asarray(weights)[:, None, :] * short[None, :, :]).max(axis=2).min(axis=1).mean())


def spacing(points: Floats) -> float:
    """Schott spacing: population deviation of nearest-neighbour L1 distances; 0 is even. NaN below two points."""
    array = points_of(points)
    if len(array) < 2:
        return float("nan")
    gaps = np.abs(array[:, None, :] - array[None, :, :]).sum(axis=2)
    np.fill_diagonal(gaps, np.inf)
    return float(gaps.min(axis=1).std())


def coverage(first: Floats, second: Floats) -> float:
    """Share of `second` that some point of `first` weakly dominates (≥ on every axis)."""
    return float((points_of(first)[:, None, :] >= points_of(second)[None, :, :]).all(axis=2).any(axis=0).mean())

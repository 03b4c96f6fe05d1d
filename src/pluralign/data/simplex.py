"""Weights on the simplex: the report's grid, regular grids, and the draws that training uses.

Every random draw takes a numpy Generator, so that a caller can make it a function of (seed, step).
"""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from pluralign.errors import ConfigError

Vectors = NDArray[np.float64]

# default_rng(0).dirichlet(ones(6), 10), rounded so that rows sum to 1. Listed, so that no numpy release moves a report.
REPORT_DRAWS_6 = (
    (0.1743, 0.2613, 0.0051, 0.0006, 0.1410, 0.4177),
    (0.0496, 0.0556, 0.2073, 0.4457, 0.2418, 0.0000),
    (0.2923, 0.0093, 0.1377, 0.1093, 0.4057, 0.0457),
    (0.0813, 0.3951, 0.0098, 0.0358, 0.2728, 0.2052),
    (0.2673, 0.0636, 0.0690, 0.2849, 0.2654, 0.0498),
    (0.0413, 0.2395, 0.1054, 0.1673, 0.2053, 0.2412),
    (0.3585, 0.0188, 0.1794, 0.1376, 0.2323, 0.0734),
    (0.1158, 0.2018, 0.0653, 0.1842, 0.0262, 0.4067),
    (0.3413, 0.0827, 0.4736, 0.0161, 0.0419, 0.0444),
    (0.1573, 0.1927, 0.1104, 0.0257, 0.4115, 0.1024),
)
NUM_REPORT_DRAWS = len(REPORT_DRAWS_6)
KINDS = {"one_hot": 0.25, "dirichlet": 0.45, "subset": 0.3}


def report_grid(k: int, seed: int = 0) -> Vectors:
    """The weights of a report: one-hots, uniform, all pairs at .5/.5, 10 Dirichlet(1) draws: float64 [N, k].

    N = 32 for k = 6, where seed 0 gives the listed draws. Rows that would occur twice (k <= 2) occur once.
    """
    _check_size(k)
    if k == 1:
        return np.ones((1, 1))
    draws = (
        np.array(REPORT_DRAWS_6)
        if (k, seed) == (6, 0)
        else np.random.default_rng(seed).dirichlet(np.ones(k), NUM_REPORT_DRAWS)
    )
    pairs = np.zeros((comb(k, 2), k))
    for row, pair in enumerate(combinations(range(k), 2)):
        pairs[row, list(pair)] = 0.5
    rows = np.concatenate([np.eye(k), np.full((1, k), 1 / k), pairs, draws])
    _, first = np.unique(rows, axis=0, return_index=True)
    return rows[np.sort(first)]


def lattice(k: int, steps: int) -> Vectors:
    """Every weight whose entries are multiples of 1/steps: float64 [C(steps + k - 1, k - 1), k], first entry falling."""
    _check_size(k)
    if steps < 1:
        raise ConfigError(f"a lattice needs at least 1 step, got {steps}")
    # stars and bars: the bars' places among steps + k - 1 places cut `steps` into k counts
    places = list(combinations(range(steps + k - 1), k - 1))
    bars = np.array(places, dtype=np.int64).reshape(len(places), k - 1)
    edges = np.pad(bars, ((0, 0), (1, 1)), constant_values=((0, 0), (-1, steps + k - 1)))
    return (np.diff(edges, axis=1) - 1)[::-1] / steps


def dirichlet(
    rng: np.random.Generator, num: int, k: int, alpha: float = 1.0, active: NDArray[np.bool_] | None = None
) -> Vectors:
    """Draws of Dirichlet(alpha, ..., alpha) over the active objectives, 0 elsewhere: float64 [num, k]."""
    places = _places(k, active)
    if not alpha > 0:
        raise ConfigError(f"the Dirichlet parameter must be above 0, got {alpha}")
    return _spread(rng.dirichlet(np.full(len(places), alpha), num), places, k)


def draw(rng: np.random.Generator, num: int, k: int, active: NDArray[np.bool_] | None = None) -> Vectors:
    """Training weights: .25 one-hot + .45 Dirichlet(.5) + .3 uniform on a random non-empty subset: float64 [num, k].

    Only over the objectives of the boolean mask `active` [k] (all by default). Every non-empty subset is equally
    likely. The lab's trade-off-aware recipe, with fewer one-hots (.4 there): mixtures gain, one-hots lose nothing. Raises ConfigError when no objective is active.
    """
    places = _places(k, active)
    kind = rng.choice(len(KINDS), size=num, p=list(KINDS.values()))
    one_hot = np.eye(len(places))[rng.integers(len(places), size=num)]
    mixed = rng.dirichlet(np.full(len(places), 0.5), num)
    subset = _subsets(rng, num, len(places))
    return _spread(np.choose(kind[:, None], [one_hot, mixed, subset / subset.sum(1, keepdims=True)]), places, k)


def _subsets(rng: np.random.Generator, num: int, size: int) -> NDArray[np.bool_]:
    chosen = rng.random((num, size)) < 0.5
    while (empty := ~chosen.any(1)).any():
        chosen[empty] = rng.random((int(empty.sum()), size)) < 0.5
    return chosen


def _spread(values: Vectors, places: NDArray[np.intp], k: int) -> Vectors:
    spread = np.zeros((len(values), k))
    spread[:, places] = values
    return spread


def _places(k: int, active: NDArray[np.bool_] | None) -> NDArray[np.intp]:
    _check_size(k)
    mask = np.ones(k, dtype=bool) if active is None else np.asarray(active)
    if mask.shape != (k,) or mask.dtype != bool:
        raise ConfigError(f"active must be {k} booleans, got {mask.dtype} of shape {mask.shape}")
    if not mask.any():
        raise ConfigError("no objective is active, so there is nothing to draw weights over")
    return np.flatnonzero(mask)


def _check_size(k: int) -> None:
    if k < 1:
        raise ConfigError(f"weights need at least 1 objective, got {k}")

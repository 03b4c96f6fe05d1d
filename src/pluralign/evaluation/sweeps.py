"""Sweeps: what happens to two scores while the weight moves from one objective to the other (methods.md E5a)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pluralign.evaluation import steerability
from pluralign.evaluation.bootstrap import interval
from pluralign.evaluation.means import Means
from pluralign.evaluation.rows import plain
from pluralign.evaluation.samples import Samples

Floats = NDArray[np.float64]
Curves = Mapping[str, Callable[[Floats], Floats]]


def sweeps(estimate: Means, replicates: Means | None, curves: Curves) -> list[dict[str, Any]]:
    """For every pair of objectives: scores along the weights between their one-hots, from grid and extra cells.

    `curves` maps the name of an optimum to a function from weights [S, K] to scores [S, K].
    """
    pairs = combinations(range(len(estimate.samples.objectives)), 2)
    found = [_sweep(estimate, replicates, curves, pair) for pair in pairs]
    return [sweep for sweep in found if len(sweep["share"]) > 1]


def _sweep(estimate: Means, replicates: Means | None, curves: Curves, pair: tuple[int, int]) -> dict[str, Any]:
    samples, chosen = estimate.samples, list(pair)
    rows, share = _between(samples, pair)
    path = _along(estimate, rows, chosen)[0]
    ends = interval(_along(replicates, rows, chosen)) if replicates and rows else None
    fine = np.zeros((21, len(samples.objectives)))
    fine[:, pair[0]], fine[:, pair[1]] = np.linspace(0, 1, 21), np.linspace(1, 0, 21)
    named = [samples.objectives[j].name for j in pair]
    return {
        "objectives": named,
        "share": share,
        "scores": plain(dict(zip(named, path.T, strict=True))),
        "intervals": None if ends is None else plain(dict(zip(named, ends.transpose(2, 1, 0), strict=True))),
        "base": plain(dict(zip(named, estimate.measured().base[0, chosen], strict=True))),
        "shape": plain(dict(zip(named, _shapes(path), strict=True))) if len(rows) > 1 else {},
        **{
            name: plain({"share": fine[:, pair[0]], **dict(zip(named, curve(fine)[:, chosen].T, strict=True))})
            for name, curve in curves.items()
        },
    }


def _between(samples: Samples, pair: tuple[int, int]) -> tuple[list[int], list[float]]:
    """Rows of grid, then extra, on the segment between two one-hots, by the first one's rising weight."""
    found: dict[float, int] = {}
    for row, cell in enumerate((*samples.cells, *samples.extra)):
        first, second = (float(cell.weights[j]) for j in pair)
        if min(first, second) >= 0 and abs(first + second - 1) < 1e-6 and np.abs(cell.weights).sum() < 1 + 1e-6:
            found.setdefault(round(first, 6), row)
    return [found[share] for share in sorted(found)], sorted(found)


def _along(means: Means, rows: Sequence[int], chosen: list[int]) -> Floats:
    cells = np.concatenate([means.grid, means.extra], axis=1)
    return means.scores(cells)[:, rows][..., chosen]


def _shapes(path: Floats) -> list[dict[str, Any]]:
    """Per objective, along its own rising weight: range, largest drop, share of inversions."""
    rising = [path[:, 0], path[::-1, 1]]
    return [
        {
            "range": float(steerability.sweep_range(scores)),
            "largest_drop": float(steerability.largest_drop(scores)),
            "inversions": float(steerability.inversions(scores)),
        }
        for scores in rising
    ]

"""The tables of a report card below its ten numbers: per objective, per weight, cross matrix, front.

Every function returns plain JSON-able values; `docs/report.md` lists the keys.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pluralign.data.objective import names
from pluralign.evaluation import front, steerability, text, utility
from pluralign.evaluation.bootstrap import interval
from pluralign.evaluation.means import DETAILS, Means
from pluralign.evaluation.rows import Measured, constant, plain
from pluralign.evaluation.samples import Cell, Samples

Floats = NDArray[np.float64]


def _intervals(replicates: Floats | None, size: int) -> list[Any]:
    """[low, high] or null for each of `size` columns of [B, size]."""
    if replicates is None:
        return [None] * size
    pairs = plain(interval(replicates).T)
    return [pair if None not in pair else None for pair in pairs]


def per_objective(estimate: Means, replicates: Means | None, optima: dict[str, Measured]) -> list[dict[str, Any]]:
    """One row per objective: score of the base, score when asked for alone, gain, Spearman, diagonal, optima."""
    objectives = estimate.samples.objectives
    found = _objective_columns(estimate.measured())
    pairs = _objective_columns(replicates.measured()) if replicates else {}
    ends = {key: _intervals(pairs.get(key), len(objectives)) for key in found}
    best = {name: _objective_columns(measured) for name, measured in optima.items()}
    right = steerability.diagonal_right(
        steerability.cross_matrix(estimate.samples.weights, estimate.scores(estimate.grid))[0]
    )
    return [
        {
            "objective": objective.name,
            **{key: plain(values[0, j]) for key, values in found.items()},
            "diagonal_right": bool(right[j]),
            "intervals": {key: ends[key][j] for key in found},
            "reasons": {} if np.isfinite(found["spearman"][0, j]) else {"spearman": constant([objective.name])},
            **{name: {key: plain(values[0, j]) for key, values in columns.items()} for name, columns in best.items()},
        }
        for j, objective in enumerate(objectives)
    ]  # fmt: skip


def _objective_columns(measured: Measured) -> dict[str, Floats]:
    """Each [B, K]. `range` is the largest less the smallest mean score over the grid (methods.md E5e)."""
    asked = np.diagonal(steerability.cross_matrix(measured.weights, measured.scores), axis1=1, axis2=2)
    return {
        "base": measured.base,
        "asked": asked,
        "gain": asked - measured.base,
        "spearman": steerability.spearman(measured.weights, measured.scores),
        "range": np.ptp(measured.scores, axis=1),
    }


def cross(estimate: Means, optima: dict[str, Measured]) -> dict[str, Any]:
    """Scores when one objective is asked for (rows) on every objective (columns), and how selective that is."""
    measured = estimate.measured()
    matrix = steerability.cross_matrix(measured.weights, measured.scores)[0]
    right = steerability.diagonal_right(matrix)
    best = {
        name: plain(steerability.cross_matrix(row.weights, row.scores)[0]) for name, row in optima.items()
    }  # fmt: skip
    return {
        "objectives": list(names(estimate.samples.objectives)),
        "scores": plain(matrix),
        "gains": plain(matrix - measured.base[0]),
        "base": plain(measured.base[0]),
        "diagonal_right": plain(right),
        "num_right": int(right.sum()),
        "selectivity": plain(steerability.selectivity(matrix)),
        **best,
    }


def per_weight(estimate: Means, replicates: Means | None, optima: dict[str, Measured]) -> list[dict[str, Any]]:
    """One row per weight of the grid: scores, utility, fluency, KL, length, repetition, with the base's beside."""
    found = _weight_columns(estimate, estimate.grid)
    plain_base = _weight_columns(estimate, estimate.base)
    pairs = _weight_columns(replicates, replicates.grid) if replicates else {}
    num = len(estimate.samples.cells)
    ends = {key: _intervals(pairs.get(key), num) for key in found}
    return [
        {
            "weights": weights_json(estimate.samples, cell),
            "num_replies": len(cell.texts),
            **{key: plain(values[0, row]) for key, values in found.items()},
            "distinct_2": plain(_distinct(cell)),
            "scores": _scores_json(estimate, estimate.grid[0, row]),
            "intervals": {key: ends[key][row] for key in found},
            "base": {key: plain(values[0, row]) for key, values in plain_base.items() if key != "kl"},
            **{name: _optimum_json(estimate.samples, measured, row) for name, measured in optima.items()},
        }
        for row, cell in enumerate(estimate.samples.cells)
    ]


def _weight_columns(means: Means, cells: Floats) -> dict[str, Floats]:
    """Each [B, G]."""
    weights, base = means.samples.weights, means.measured().base
    scores = means.scores(cells)
    return {
        "utility": utility.utility(weights, scores),
        "utility_gain": utility.utility(weights, scores - base[:, None, :]),
        **{name: means.detail(cells, name) for name in DETAILS},
    }


def _distinct(cell: Cell) -> float:
    """Mean over prompts of the distinct bigrams of a prompt's replies (methods.md E7)."""
    replies: dict[str, list[str]] = {}
    for prompt, reply in zip(cell.prompts, cell.texts, strict=True):
        replies.setdefault(prompt, []).append(reply)
    return float(np.mean([text.distinct_n(several) for several in replies.values()]))


def weights_json(samples: Samples, cell: Cell) -> dict[str, float]:
    """The weights that are not 0, by name."""
    return {name: float(value) for name, value in zip(names(samples.objectives), cell.weights, strict=True) if value}


def _scores_json(means: Means, features: Floats) -> dict[str, Any]:
    return dict(zip(names(means.samples.objectives), plain(means.scores(features)), strict=True))


def _optimum_json(samples: Samples, measured: Measured, row: int) -> dict[str, Any]:
    scores = measured.scores[0, row]
    return {
        "scores": dict(zip(names(samples.objectives), plain(scores), strict=True)),
        "utility": plain(samples.weights[row] @ scores),
        "kl": plain(measured.kl[0, row]),
    }


def front_table(estimate: Means, optima: dict[str, Measured]) -> dict[str, Any]:
    """How the mean scores lie, each objective scaled to its own range: share non-dominated, spacing, distances."""
    samples = estimate.samples

    def unit(scores: Floats) -> Floats:
        return np.asarray((scores - samples.low) / (samples.high - samples.low))

    points, base = unit(estimate.scores(estimate.grid)[0]), unit(estimate.measured().base)
    if not np.isfinite(points).all() or not np.isfinite(base).all():
        return {}
    found: dict[str, Any] = {
        "non_dominated": float(front.non_dominated(points).mean()),
        "spacing": plain(front.spacing(points)),
        "r2": front.r2(points, samples.weights, np.ones(points.shape[1])),
        "covers_base": front.coverage(points, base) == 1.0,
    }
    if "optimum" in optima:
        best = unit(optima["optimum"].scores[0])
        found |= {"igd": front.igd(points, best), "igd_plus": front.igd_plus(points, best)}
    return found

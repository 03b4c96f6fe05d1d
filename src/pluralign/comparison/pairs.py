"""Differences between rows, paired: the same prompts, the same weights, the same seeds of the training pool.

Intervals resample prompts (methods.md E3), for all rows and seeds alike; what another training seed would do is not in
them: that is what the seeds are for. Letters: B replicates, G weights, K objectives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pluralign.comparison import kept_cells
from pluralign.data.objective import Objective
from pluralign.evaluation.bootstrap import Tally, draws, interval
from pluralign.evaluation.samples import Cell

Floats = NDArray[np.float64]
RESAMPLES = 1000


@dataclass(frozen=True)
class Difference:
    """A row less the baseline, and its 95 % interval; `num_weights` they were both asked for."""

    gain: tuple[float, float, float] | None
    utility: tuple[float, float, float]
    num_weights: int


def difference(
    ours: Sequence[Path], theirs: Sequence[Path], objectives: Sequence[Objective], resamples: int = RESAMPLES
) -> Difference | None:
    """Of files of cells, one per seed in the same order; None where no weight is common to all.

    `gain`: mean over objectives of the score when it is asked for alone (None where some one-hot is missing); `utility`:
    mean over the common weights of λ·s. The base is the same for both and cancels.
    """
    found = [
        _scores(kept_cells.read(a), kept_cells.read(b), objectives, resamples)
        for a, b in zip(ours, theirs, strict=True)
    ]
    pairs = [pair for pair in found if pair is not None]
    if len(pairs) < len(found) or not pairs:
        return None
    weights = pairs[0][0]
    gap = np.mean([scores for _, scores in pairs], axis=0)  # [1 + B, G, K]
    places = [_row_of(weights, target) for target in np.eye(len(objectives))]
    gain = None
    if None not in places:
        gain = _with_interval(np.mean([gap[:, row, k] for k, row in enumerate(places)], axis=0))
    return Difference(gain, _with_interval((weights * gap).sum(-1).mean(-1)), len(weights))


def _row_of(weights: Floats, target: Floats) -> int | None:
    found = np.flatnonzero(np.isclose(weights, target, atol=1e-6).all(1))
    return int(found[0]) if len(found) else None


def _with_interval(values: Floats) -> tuple[float, float, float]:
    """[1 + B]: the estimate first, then the replicates."""
    low, high = interval(values[1:])
    return float(values[0]), float(low), float(high)


def _scores(
    ours: Sequence[Cell], theirs: Sequence[Cell], objectives: Sequence[Objective], resamples: int
) -> tuple[Floats, Floats] | None:
    """(common weights [G, K], differences of mean scores [1 + B, G, K], more being better)."""
    common = [(cell, kept_cells.place(theirs, cell.weights)) for cell in ours]
    shared = [(cell, theirs[place]) for cell, place in common if place is not None]
    if not shared:
        return None
    signs = np.array([1.0 if objective.direction == "higher" else -1.0 for objective in objectives])
    ids = sorted({prompt for pair in shared for cell in pair for prompt in cell.prompts})
    places = {prompt: number for number, prompt in enumerate(ids)}
    cells = [cell for side in (0, 1) for cell in (pair[side] for pair in shared)]
    index = [np.array([places[prompt] for prompt in cell.prompts]) for cell in cells]
    tally = Tally.of(index, [cell.scores * signs for cell in cells], len(ids))
    means = np.concatenate([tally.means(), tally.means(draws(len(ids), resamples, seed=0))])
    return np.array([cell.weights for cell, _ in shared]), means[:, : len(shared)] - means[:, len(shared) :]

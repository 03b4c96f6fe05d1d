"""How the scores of each objective are spread: mean, deviation, extremes, missing and abstained, and a histogram."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pluralign.data.evidence import Array, direction_signs
from pluralign.data.halo import Halo, of_correlation
from pluralign.data.inspect.sums import Sums
from pluralign.data.objective import Objective

_BINS = 20
_MOST_VALUES = 25


@dataclass(frozen=True, slots=True)
class Spread:
    """The scores of one objective in the source's units.

    `missing` and `abstained` are shares of all replies; `deviation` is the population's; NaN without a score.
    `histogram` has the different `values` with their `counts`, or, where there are more than 25, the `edges` of 20
    equal parts of the range (the upper edge belongs to the last part only).
    """

    scored: int
    missing: float
    abstained: float
    mean: float
    deviation: float
    smallest: float
    largest: float
    histogram: Mapping[str, list[float]]


class Spreads:
    """Scores of replies, added block by block; memory grows with the square of the objectives only."""

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.objectives = objectives
        self.signs = direction_signs(objectives)
        self.low = np.array([objective.low for objective in objectives])
        self.high = np.array([objective.high for objective in objectives])
        self.replies = self.left_out = 0
        self.declined = np.zeros(len(objectives))
        self.sums = Sums((self.low + self.high) / 2)
        self.graded = Sums(self.sums.shift)
        self.smallest = np.full(len(objectives), np.inf)
        self.largest = np.full(len(objectives), -np.inf)
        self.bins = np.zeros((len(objectives), _BINS))
        self.values: list[Counter[float] | None] = [Counter() for _ in objectives]

    def add(self, scores: Array) -> None:
        """Add the scores [B, K] of some replies, NaN where there is none."""
        known = ~np.isnan(scores)
        said, above = known.any(axis=1), (scores > self.low).any(axis=1)
        self.replies += len(scores)
        self.left_out += int((said & ~above).sum())
        self.sums.add(scores)
        self.graded.add(scores[above])
        self.smallest = np.minimum(self.smallest, np.where(known, scores, np.inf).min(axis=0, initial=np.inf))
        self.largest = np.maximum(self.largest, np.where(known, scores, -np.inf).max(axis=0, initial=-np.inf))
        for k in np.flatnonzero(known.any(axis=0)):
            self._histogram(int(k), scores[known[:, k], k])

    def _histogram(self, k: int, scores: Array) -> None:
        share = (scores - self.low[k]) / (self.high[k] - self.low[k])
        places = np.clip((share * _BINS).astype(np.int64), 0, _BINS - 1)
        self.bins[k] += np.bincount(places, minlength=_BINS)
        values = self.values[k]
        if values is not None:
            found, counts = np.unique(scores, return_counts=True)
            values.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
            self.values[k] = values if len(values) <= _MOST_VALUES else None

    def result(self) -> tuple[Spread, ...]:
        """One per objective."""
        mean, deviation = self.sums.mean(), self.sums.deviation()
        return tuple(self._spread(k, float(mean[k]), float(deviation[k])) for k in range(len(self.objectives)))

    def _spread(self, k: int, mean: float, deviation: float) -> Spread:
        scored, replies = int(self.sums.num[k, k]), self.replies or np.nan
        missing = (self.replies - scored - self.declined[k]) / replies
        ends = (float(self.smallest[k]), float(self.largest[k])) if scored else (np.nan, np.nan)
        abstained = float(self.declined[k] / replies)
        return Spread(scored, float(missing), abstained, mean, deviation, *ends, self._counts(k))

    def _counts(self, k: int) -> dict[str, list[float]]:
        values = self.values[k]
        if values is not None:
            return {"values": sorted(values), "counts": [values[value] for value in sorted(values)]}
        edges = np.linspace(self.low[k], self.high[k], _BINS + 1)
        return {"edges": edges.tolist(), "counts": self.bins[k].astype(int).tolist()}

    def correlation(self) -> Array:
        """Pearson's r of each two objectives [K, K], signed so that more is better; NaN where one does not vary."""
        return self.sums.correlation() * np.outer(self.signs, self.signs)

    def halo(self) -> Halo:
        """The halo over graded replies: those with the lowest mark everywhere (`left_out`) say nothing about it."""
        return of_correlation(self.graded.correlation() * np.outer(self.signs, self.signs), self.objectives)

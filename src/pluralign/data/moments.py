"""Means, deviations and correlations of scores in one streamed pass, exact also where labels are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from pluralign.data.evidence import Array, direction_signs, score_row
from pluralign.data.objective import Objective
from pluralign.data.record import Record, Response

Graded = Callable[[Response], bool]
_Sums = tuple[int, Array, Array]


class Moments:
    """First and second moments of score rows [K], kept apart by which objectives are labelled (few patterns occur).

    Scores are signed so that more is better and shifted by the middle of their range, which keeps the sums small.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.signs = direction_signs(objectives)
        self.shift = np.array([(objective.low + objective.high) / 2 for objective in objectives]) * self.signs
        self.patterns: dict[bytes, _Sums] = {}

    def add(self, row: Array) -> None:
        """Count one row in the source's units, NaN where unlabelled."""
        labelled = ~np.isnan(row)
        filled = np.where(labelled, row * self.signs - self.shift, 0.0)
        num, first, second = self.patterns.get(labelled.tobytes(), (0, 0.0, 0.0))
        self.patterns[labelled.tobytes()] = (num + 1, first + filled, second + np.outer(filled, filled))

    def items(self) -> Iterable[tuple[NDArray[np.bool_], _Sums]]:
        """(labelled [K], (number of rows, sums [K], sums of products [K, K])) per pattern."""
        return [(np.frombuffer(key, dtype=bool), sums) for key, sums in self.patterns.items()]

    def mean_and_deviation(self) -> tuple[Array, Array]:
        """Mean and population standard deviation per objective [K], shifted and signed as above; NaN without labels."""
        zero = np.zeros(len(self.signs))
        num = sum((labelled * sums[0] for labelled, sums in self.items()), zero)
        first = sum((sums[1] for _, sums in self.items()), zero)
        second = sum((np.diag(sums[2]) for _, sums in self.items()), zero)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = first / num
            return mean, _clean(second / num - mean**2, second / num)

    def correlation(self) -> Array:
        """Pearson's r of each two objectives over the rows labelled on both [K, K]; NaN where one does not vary."""
        zero = np.zeros((len(self.signs),) * 2)
        num, first, square, product = zero, zero, zero, zero
        for labelled, (count, sums, products) in self.items():
            both = np.outer(labelled, labelled)
            num, product = num + both * count, product + products
            first, square = first + both * sums[:, None], square + both * np.diag(products)[:, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = first / num
            deviation = _clean(square / num - mean**2, square / num)
            return np.asarray((product / num - mean * mean.T) / (deviation * deviation.T))


def _clean(variance: Array, scale: Array) -> Array:
    """The standard deviation, exactly 0 where the variance is rounding noise."""
    return np.sqrt(np.where(variance <= 1e-12 * scale, 0.0, variance))


def collect(records: Iterable[Record], objectives: Sequence[Objective], graded: Graded | None = None) -> Moments:
    """The moments of all graded responses with a label (`graded` as in `is_graded` by default)."""
    moments = Moments(objectives)
    for record in records:
        for response in record.responses:
            row = score_row(response, objectives)
            if not np.isnan(row).all() and is_graded(response, row, objectives, graded):
                moments.add(row)
    return moments


def is_graded(response: Response, row: Array, objectives: Sequence[Objective], graded: Graded | None) -> bool:
    """Whether a reply was graded: by the predicate, else unless all its scores [K] are at the low end.

    Raters give the lowest mark everywhere to what is not a reply at all; it says nothing about the objectives.
    """
    if graded is not None:
        return graded(response)
    low = np.array([objective.low for objective in objectives])
    return bool(((row > low) & ~np.isnan(row)).any())

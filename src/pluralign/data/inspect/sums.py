"""Streamed first and second moments of columns with gaps: O(columns²) memory, whatever the number of rows."""

from __future__ import annotations

import numpy as np

from pluralign.data.evidence import Array

_NOISE = 1e-12


class Sums:
    """For each two columns i, j the moments of i over the rows where both are known [C, C], added block by block.

    `shift` [C] is taken off first, which keeps the sums small.
    """

    def __init__(self, shift: Array) -> None:
        self.shift = shift
        self.num, self.first, self.square, self.product = (np.zeros((len(shift),) * 2) for _ in range(4))

    def add(self, rows: Array) -> None:
        """Add rows [B, C], NaN where unknown."""
        known = (~np.isnan(rows)).astype(np.float64)
        filled = np.where(known > 0, rows - self.shift, 0.0)
        self.num += known.T @ known
        self.first += filled.T @ known
        self.square += (filled**2).T @ known
        self.product += filled.T @ filled

    def mean(self) -> Array:
        """The mean of each column [C]; NaN where nothing is known."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.diag(self.first) / np.diag(self.num) + self.shift

    def deviation(self) -> Array:
        """The population standard deviation of each column [C], exactly 0 where it is rounding noise."""
        return np.diag(self._deviations()).copy()

    def correlation(self) -> Array:
        """Pearson's r of each two columns over the rows where both are known [C, C]; NaN where one does not vary."""
        with np.errstate(invalid="ignore", divide="ignore"):
            mean, deviation = self.first / self.num, self._deviations()
            found = (self.product / self.num - mean * mean.T) / (deviation * deviation.T)
        return np.where((deviation > 0) & (deviation.T > 0), np.clip(found, -1.0, 1.0), np.nan)

    def _deviations(self) -> Array:
        with np.errstate(invalid="ignore", divide="ignore"):
            square = self.square / self.num
            variance = square - (self.first / self.num) ** 2
        return np.sqrt(np.where(variance <= _NOISE * square, 0.0, variance))

"""Alignment dimension conflict: how much training on one objective costs the others.

ADC (Hummer, Jiang et al. 2024, arXiv 2405.11647; methods.md E8): train on objective i, take the change of accuracy d_ij
on every other objective j. ADC_i = mean over j != i of min(0, d_ij)², ADC = mean of ADC_i: the second moment of the
losses alone. 0 says that nothing was lost. The form is methods.md's reading of "second-order moment of negative
performance deviations".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pluralign.data.evidence import Array
from pluralign.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Conflict:
    """`overall` ADC; `per_objective` [K], trained on each; `change` [K, K], accuracy on j after training on i less before."""

    overall: float
    per_objective: Array
    change: Array


def dimension_conflict(before: ArrayLike, after: ArrayLike) -> Conflict:
    """ADC from accuracies `before` [K] and `after` [K, K] (row i: after training on objective i), as shares.

    NaN entries (not measured) are left out of the means; an objective with no other measured has ADC_i = NaN.
    Raises ConfigError for other shapes, one objective alone, or numbers that are no shares.
    """
    start, end = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    size = len(start) if start.ndim == 1 else 0
    shares = np.concatenate([start.ravel(), end.ravel()])
    if size < 2 or end.shape != (size, size) or ((shares < 0) | (shares > 1)).any():
        raise ConfigError(
            f"conflict needs accuracies from 0 to 1: [K] before and [K, K] after, K >= 2; got {start.shape} and {end.shape}"
        )
    change = end - start
    lost = np.where(np.eye(size, dtype=bool), np.nan, np.minimum(change, 0.0) ** 2)
    each = _mean(lost)
    return Conflict(float(_mean(each[None])[0]), each, change)


def _mean(rows: Array) -> Array:
    """Row means over what is known; NaN where nothing is."""
    known = ~np.isnan(rows)
    mean: Array = np.where(known, rows, 0.0).sum(1) / np.where(known.any(1), known.sum(1), np.nan)
    return mean

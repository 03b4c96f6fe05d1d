"""Halo: how far the objectives' scores move together, which is how far they cannot be told apart by training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from pluralign.data.evidence import Array
from pluralign.data.moments import Graded, collect
from pluralign.data.objective import Objective, names
from pluralign.data.record import Record

THRESHOLD = 0.3


@dataclass(frozen=True, slots=True)
class Halo:
    """`correlation` [K, K] of the scores (more is better); `mean` over pairs of objectives; `advice` in words."""

    correlation: Array
    mean: float
    advice: str


def halo(records: Iterable[Record], objectives: Sequence[Objective], graded: Graded | None = None) -> Halo:
    """The mean pairwise Pearson correlation of the objectives over graded replies, one streamed pass.

    Above .3 the advice is the ipsative conversion: in the lab, raters with r = .6 make steering fail outright, and
    ipsative scores repair it. `mean` is NaN when no two objectives vary together (one objective, or no scores).
    """
    return of_correlation(collect(records, objectives, graded).correlation(), objectives)


def of_correlation(correlation: Array, objectives: Sequence[Objective]) -> Halo:
    """The halo of correlations [K, K] that are known already."""
    upper = correlation[np.triu_indices(len(objectives), 1)]
    known = upper[~np.isnan(upper)]
    mean = float(known.mean()) if len(known) else float("nan")
    return Halo(correlation, mean, _advice(correlation, mean, names(objectives)))


def _advice(correlation: Array, mean: float, allowed: Sequence[str]) -> str:
    if np.isnan(mean):
        return "no two objectives are scored on the same replies with scores that vary, so no halo can be measured"
    pairs = [(float(correlation[i, j]), i, j) for i, j in combinations(range(len(allowed)), 2)]
    most, i, j = max(pair for pair in pairs if not np.isnan(pair[0]))
    measured = f"the objectives' scores correlate by {mean:.2f} on average"
    if mean > THRESHOLD:
        return (
            f"{measured} (most: {allowed[i]} and {allowed[j]}, {most:.2f}). Raters seem to give one "
            "overall impression; train on ipsative scores (`pluralign train cmpo` makes them by itself), or every weight will "
            "steer towards the same reply"
        )
    return f"{measured}; they can be told apart as they are"

"""Per-rater standardisation: what a rater says beyond how kind, or how generous with the scale, the rater is.

Within-person standardisation, the ipsative z-score of Cattell (1944) over persons instead of objectives (`ipsative` does
objectives), with shrinkage of each rater's mean and deviation towards everybody's, as in empirical Bayes (Efron and
Morris 1977): a rater with n ratings keeps the share n / (n + κ) of their own.

    shift   x - m_r + m                 (a strict rater is lifted)
    zscore  (x - m_r) · s / s_r + m     (a rater who uses little of the scale is stretched too)

    m_r = (Σx + κ·m) / (n + κ),   s_r² = (Σ(x - x̄_r)² + κ·s²) / (n + κ)

m and s are over all raters' ratings, s_r around the rater's own plain mean; all per objective and population (n).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pluralign.data.dataset import Dataset, Tally
from pluralign.data.objective import Objective
from pluralign.data.record import Rating, Record, Response
from pluralign.errors import ConfigError

KINDS = ("zscore", "shift")


def per_rater(
    records: Iterable[Record], objectives: Sequence[Objective], kind: str = "zscore", shrinkage: float = 5.0
) -> Dataset:
    """Records whose ratings are standardised per rater, and objectives with the ranges these can take.

    Two streamed passes: the first (now) gathers sums, each iteration of the result is another. Only ratings of raters
    with an id change; others, abstentions and objectives that are not asked for stay. A response with a changed
    rating loses its aggregate score on that objective, being in the old units: the mean of its ratings counts.
    `shrinkage` is κ >= 0, in ratings; a rater whose s_r is 0 is shifted only. Raises ConfigError for a one-way
    iterator, another kind, or a bad κ.
    """
    if isinstance(records, Iterator):
        raise ConfigError("per-rater standardisation needs two passes: give a list or a Dataset, not an iterator")
    if kind not in KINDS or not (math.isfinite(shrinkage) and shrinkage >= 0):
        raise ConfigError(f"kind is one of {', '.join(KINDS)}, shrinkage from 0; got {kind!r} and {shrinkage}")
    scales = _fit(records, tuple(objective.name for objective in objectives), kind, shrinkage)

    def stream(tally: Tally) -> Iterator[Record]:
        for record in records.records(tally) if isinstance(records, Dataset) else _counted(records, tally):
            replies = tuple(_standardised(response, scales) for response in record.responses)
            yield dataclasses.replace(record, responses=replies)

    ranges = tuple(_ranged(objective, scales) for objective in objectives)
    if isinstance(records, Dataset):
        return dataclasses.replace(records, objectives=ranges, stream=stream)
    return Dataset(ranges, stream)


@dataclass(frozen=True, slots=True)
class _Scale:
    """x becomes (x - own) · stretch + common."""

    own: float
    stretch: float
    common: float

    def __call__(self, score: float) -> float:
        return (score - self.own) * self.stretch + self.common


_Scales = dict[tuple[str, str], _Scale]  # by (rater, objective)


def _fit(records: Iterable[Record], allowed: tuple[str, ...], kind: str, shrinkage: float) -> _Scales:
    sums: dict[tuple[str, str], tuple[int, float, float]] = {}  # Welford's: count, mean, sum of squares around it
    for rater, name, score in _ratings(records, allowed):
        count, mean, squares = sums.get((rater, name), (0, 0.0, 0.0))
        new = mean + (score - mean) / (count + 1)
        sums[rater, name] = (count + 1, new, squares + (score - mean) * (score - new))
    scales = {}
    for name in allowed:
        own = {rater: found for (rater, objective), found in sums.items() if objective == name}
        if own:
            counts, means, squares = np.array(list(own.values())).T
            common = float((counts * means).sum() / counts.sum())
            variance = float((squares + counts * (means - common) ** 2).sum() / counts.sum())
            shrunk = (counts * means + shrinkage * common) / (counts + shrinkage)
            spread = np.sqrt((squares + shrinkage * variance) / (counts + shrinkage))
            usable = (spread > 0) & (kind == "zscore")
            stretch = np.where(usable, math.sqrt(variance) / np.where(usable, spread, 1.0), 1.0)
            for rater, mean, factor in zip(own, shrunk.tolist(), stretch.tolist(), strict=True):
                scales[rater, name] = _Scale(mean, factor, common)
    return scales


def _ratings(records: Iterable[Record], allowed: tuple[str, ...]) -> Iterator[tuple[str, str, float]]:
    for record in records:
        for response in record.responses:
            for rating in response.ratings:
                rater = None if rating.rater is None else rating.rater.id
                scores = () if rater is None else rating.scores.items()
                yield from ((rater or "", name, x) for name, x in scores if x is not None and name in allowed)


def _standardised(response: Response, scales: _Scales) -> Response:
    ratings = tuple(_changed(rating, scales) for rating in response.ratings)
    renewed = {
        name
        for old, new in zip(response.ratings, ratings, strict=True)
        if new is not old
        for name in old.scores
        if old.rater is not None and (old.rater.id, name) in scales
    }
    scores = {name: score for name, score in response.scores.items() if name not in renewed}
    return dataclasses.replace(response, ratings=ratings, scores=scores) if renewed else response


def _changed(rating: Rating, scales: _Scales) -> Rating:
    rater = None if rating.rater is None else rating.rater.id
    if rater is None or not any((rater, name) in scales for name in rating.scores):
        return rating
    new = {
        name: score if score is None or (rater, name) not in scales else scales[rater, name](score)
        for name, score in rating.scores.items()
    }
    return dataclasses.replace(rating, scores=new)


def _ranged(objective: Objective, scales: _Scales) -> Objective:
    """The objective with bounds that no standardised (or untouched) score can leave, rounded outwards to hundredths."""
    ends = [
        scale(end) for (_, n), scale in scales.items() if n == objective.name for end in (objective.low, objective.high)
    ]
    low, high = min([objective.low, *ends]), max([objective.high, *ends])
    return dataclasses.replace(objective, low=math.floor(low * 100) / 100, high=math.ceil(high * 100) / 100)


def _counted(records: Iterable[Record], tally: Tally) -> Iterator[Record]:
    for record in records:
        tally.keep()
        yield record

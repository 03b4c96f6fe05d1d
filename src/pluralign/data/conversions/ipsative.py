"""Ipsative scores: what a reply has of one objective beyond what it has of all, for ratings that share a halo.

Ipsatisation (Cattell 1944), partial: full centring would erase a real common quality. The numbers are the lab's (H6):
z-score each objective over the pool, subtract .9 times the reply's mean z, rescale to standard deviation 1.1; what was
not graded gets -3. Standard deviations are population ones, over graded replies only.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pluralign.data.dataset import Dataset, Tally
from pluralign.data.evidence import Array, score_row
from pluralign.data.moments import Graded, Moments, collect, is_graded
from pluralign.data.objective import Objective, names
from pluralign.data.record import Record, Response
from pluralign.errors import ConfigError, DataError


def ipsative(
    records: Iterable[Record],
    objectives: Sequence[Objective],
    share: float = 0.9,
    deviation: float = 1.1,
    ungraded: float = -3.0,
    graded: Graded | None = None,
) -> Dataset:
    """Records with ipsative scores, and objectives with the ranges these can take; two streamed passes.

    The first pass (now) gathers the statistics, each iteration of the result is the second. `records` must be
    iterable again (a list or a Dataset). Missing and abstained scores stay so; the mean z is over the labelled
    objectives; a 'lower' objective is turned for the mean and turned back. Raters' ratings are taken into the
    aggregate and then left out, being in the old units. Raises ConfigError for a one-way iterator, DataError for
    an objective whose graded scores do not vary.
    """
    if iter(records) is records:
        raise ConfigError("ipsative scores need two passes: give a list or a Dataset, not an iterator")
    scale = _fit(collect(records, objectives, graded), tuple(objectives), share, deviation, ungraded)

    def stream(tally: Tally) -> Iterator[Record]:
        for record in records.records(tally) if isinstance(records, Dataset) else _counted(records, tally):
            responses = tuple(scale.apply(response, graded) for response in record.responses)
            yield dataclasses.replace(record, responses=responses)

    if isinstance(records, Dataset):
        return dataclasses.replace(records, objectives=scale.ranges(), stream=stream)
    return Dataset(scale.ranges(), stream)


def _counted(records: Iterable[Record], tally: Tally) -> Iterator[Record]:
    for record in records:
        tally.keep()
        yield record


@dataclass(frozen=True, slots=True)
class _Scale:
    """The fitted map; arrays are [K], signed so that more is better and shifted as in Moments."""

    objectives: tuple[Objective, ...]
    signs: Array
    shift: Array
    mean: Array
    sd: Array
    factor: Array
    share: float
    ungraded: float

    def standardise(self, row: Array) -> Array:
        z: Array = (row * self.signs - self.shift - self.mean) / self.sd
        return z

    def apply(self, response: Response, graded: Graded | None) -> Response:
        row = score_row(response, self.objectives)
        if np.isnan(row).all():
            return response
        if is_graded(response, row, self.objectives, graded):
            z = self.standardise(row)
            new = (z - self.share * np.nanmean(z)) * self.factor
        else:
            new = np.where(np.isnan(row), np.nan, self.ungraded)
        signed = dict(zip(names(self.objectives), (new * self.signs).tolist(), strict=True))
        changed = {name: value for name, value in signed.items() if not math.isnan(value)}
        return dataclasses.replace(response, scores={**response.scores, **changed}, ratings=())

    def ranges(self) -> tuple[Objective, ...]:
        """The objectives with bounds that no score can leave, rounded outwards to hundredths."""
        ends = np.array([[objective.low, objective.high] for objective in self.objectives]).T
        z = np.sort(np.stack([self.standardise(end) for end in ends]), axis=0)
        low = np.minimum((z[0] - self.share * z[1].max()) * self.factor, self.ungraded)
        high = np.maximum((z[1] - self.share * z[0].min()) * self.factor, self.ungraded)
        sorted_ends = np.sort(np.stack([low, high]) * self.signs, axis=0)
        bounds = np.stack([np.floor(sorted_ends[0] * 100), np.ceil(sorted_ends[1] * 100)]).T / 100
        return tuple(
            dataclasses.replace(objective, low=float(ends[0]), high=float(ends[1]))
            for objective, ends in zip(self.objectives, bounds, strict=True)
        )


def _fit(
    moments: Moments, objectives: tuple[Objective, ...], share: float, deviation: float, ungraded: float
) -> _Scale:
    mean, sd = moments.mean_and_deviation()
    _check_varies(sd, objectives, "the graded scores do not vary (or there are none)")
    remaining = _deviation_after(moments, mean, sd, share)
    _check_varies(remaining, objectives, f"nothing is left after subtracting {share} of the mean")
    return _Scale(objectives, moments.signs, moments.shift, mean, sd, deviation / remaining, share, ungraded)


def _check_varies(sd: Array, objectives: Sequence[Objective], problem: str) -> None:
    flat = [name for name, value in zip(names(objectives), sd, strict=True) if not value > 0]
    if flat:
        raise DataError(f"{', '.join(flat)}: {problem}, so they cannot be made ipsative; leave these objectives out")


def _deviation_after(moments: Moments, mean: Array, sd: Array, share: float) -> Array:
    """Population deviation [K] of z - share * mean(z), from the moments: linear in z within a label pattern."""
    num, first, second = np.zeros((3, len(mean)))
    for labelled, (count, sums, products) in moments.items():
        centred = sums - count * mean
        cross = products - np.outer(mean, sums) - np.outer(sums, mean) + count * np.outer(mean, mean)
        inside = np.outer(labelled, labelled)
        matrix = (np.diag(labelled.astype(float)) - share / labelled.sum() * inside) / sd
        num = num + count * labelled
        first = first + matrix @ np.where(labelled, centred, 0.0)
        second = second + np.diag(matrix @ np.where(inside, cross, 0.0) @ matrix.T)
    variance = second / num - (first / num) ** 2
    return np.sqrt(np.where(variance <= 1e-12 * np.maximum(second / num, 1e-300), 0.0, variance))

"""Intervals by resampling prompts: replies to one prompt belong together, so prompts are what is drawn.

Source: methods.md E3 and E11 (bootstrap over prompts, paired). All cells (policy and base, every weight) are resampled
with the same prompts, so that differences are paired. Letters: B replicates, P prompts, C cells, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pluralign.errors import ConfigError

Floats = NDArray[np.float64]
LEVEL = 0.95


def draws(num_prompts: int, num_replicates: int, seed: int = 0) -> Floats:
    """How often each prompt is drawn in each replicate: [B, P], rows sum to P. Fixed by the seed."""
    if num_prompts < 1 or num_replicates < 1:
        raise ConfigError(f"need at least one prompt and one replicate, got {num_prompts} and {num_replicates}")
    rng = np.random.default_rng(seed)
    return rng.multinomial(num_prompts, np.full(num_prompts, 1.0 / num_prompts), num_replicates).astype(np.float64)


@dataclass(frozen=True)
class Tally:
    """Sums and counts of every feature per prompt and cell, both [P, C, F]; missing values (NaN) are not counted."""

    sums: Floats
    counts: Floats

    @classmethod
    def of(cls, prompts: Sequence[NDArray[np.intp]], features: Sequence[Floats], num_prompts: int) -> Tally:
        """From each cell's prompt indices [n] and features [n, F]."""
        shape = (num_prompts, len(features), features[0].shape[1])
        sums, counts = np.zeros(shape), np.zeros(shape)
        for cell, (index, values) in enumerate(zip(prompts, features, strict=True)):
            known = np.isfinite(values)
            np.add.at(sums[:, cell], index, np.where(known, values, 0.0))
            np.add.at(counts[:, cell], index, known)
        return cls(sums, counts)

    def means(self, drawn: Floats | None = None) -> Floats:
        """Mean of every feature over replies, per cell: [B, C, F]; [1, C, F], the estimate, without `drawn` [B, P].

        NaN where a cell has no value (or none of its prompts was drawn).
        """
        weights = np.ones((1, len(self.sums))) if drawn is None else drawn
        totals = np.tensordot(weights, self.sums, axes=1)
        counts = np.tensordot(weights, self.counts, axes=1)
        return np.asarray(totals / np.where(counts > 0, counts, np.nan))


def interval(replicates: Floats, level: float = LEVEL) -> Floats:
    """Percentile interval along the first axis: [2, ...] from [B, ...].

    Undefined replicates (NaN) are left out; NaN when fewer than half are defined.
    """
    values = np.asarray(replicates, dtype=np.float64)
    defined = np.isfinite(values)
    enough = defined.mean(axis=0) >= 0.5
    filled = np.where(enough, np.where(defined, values, np.nan), 0.0)
    tails = [(1.0 - level) / 2.0, (1.0 + level) / 2.0]
    return np.where(enough, np.nanquantile(filled, tails, axis=0), np.nan)


def centred_interval(replicates: Floats, estimate: float, level: float = LEVEL) -> Floats:
    """The percentile interval of [B], moved so that the replicates' median falls on the estimate: [2].

    For minima, ranks and volumes of noisy means, whose replicates are all shifted to one side: resampling adds its own
    noise to that of the sample, and the unmoved interval can miss the estimate.
    """
    middle = np.nanmedian(replicates) if np.isfinite(replicates).any() else np.nan
    return interval(replicates, level) + (estimate - middle)


def mean_interval(
    values: Floats, prompts: Sequence[str], num_replicates: int = 500, seed: int = 0, level: float = LEVEL
) -> tuple[float, float]:
    """Interval of a plain mean of `values` [n] whose items belong to `prompts` [n]. NaN with fewer than two prompts."""
    names, index = np.unique(np.asarray(prompts, dtype=object).astype(str), return_inverse=True)
    if len(names) < 2:
        return float("nan"), float("nan")
    column = np.asarray(values, dtype=np.float64)[:, None]
    tally = Tally.of([index], [column], len(names))
    low, high = interval(tally.means(draws(len(names), num_replicates, seed))[:, 0, 0], level)
    return float(low), float(high)

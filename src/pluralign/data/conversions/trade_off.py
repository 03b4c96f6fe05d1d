"""Trade-off: the same pairs of replies judged under several weights, by the sign and the size of λ·Δscore.

The data view of relative-reward regression (closest published relative: REBEL, arXiv 2404.16767) and of CLP's and
MODPO's scalarised rewards (arXiv 2407.15762, 2310.03708); the contrast between weights is what teaches steering.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

from pluralign.data import condition
from pluralign.data.evidence import Array, evidence
from pluralign.data.group import Group, Preference
from pluralign.data.objective import Objective
from pluralign.data.record import Record
from pluralign.errors import ConfigError

_NO_MARGIN = 1e-9  # of the size of the terms: what cancels up to rounding is no preference


def trade_off(record: Record, objectives: Sequence[Objective], weights: ArrayLike) -> Group | None:
    """Every pair of the record's replies judged under every weight [L, K]; None if no pair can be judged.

    A weight judges a pair only if both replies are labelled on every objective it weighs: dropping the unlabelled
    part would teach that this part does not matter. By scores (or strengths) the margin is |λ·Δ|; where some label is
    only a direction, λ·sign decides and the margin is None. No margin, no preference. All L conditions are kept.
    Raises ConfigError for weights of another shape or that are not finite.
    """
    rows = np.asarray(weights, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] != len(objectives) or not np.isfinite(rows).all():
        raise ConfigError(f"weights must be finite, of shape [L, {len(objectives)}]; got shape {rows.shape}")
    found = evidence(record, objectives)
    preferences = tuple(
        preference for i, j in found.pairs() for preference in _judge(i, j, found.size[i, j], found.verdict[i, j], rows)
    )
    if not preferences:
        return None
    conditions = tuple(condition.from_vector(row, objectives) for row in rows)
    return Group.of(record, record.responses, conditions, preferences)


def _judge(i: int, j: int, size: Array, verdict: Array, rows: Array) -> Iterator[Preference]:
    by_size, by_sign = _weighed(rows, size), _weighed(rows, verdict)
    for place, (sized, signed) in enumerate(zip(by_size, by_sign, strict=True)):
        value = signed if np.isnan(sized) else sized
        if np.isnan(value) or value == 0.0:
            continue
        chosen, rejected = (i, j) if value > 0 else (j, i)
        yield Preference(place, chosen, rejected, None if np.isnan(sized) else abs(float(value)))


def _weighed(rows: Array, values: Array) -> Array:
    """λ·values [L]; NaN where a weighed value is unknown, exactly 0 where the terms cancel."""
    terms = np.where(rows == 0, 0.0, rows * values)
    total = terms.sum(1)
    return np.where(np.abs(total) <= _NO_MARGIN * np.abs(terms).sum(1), 0.0, total)

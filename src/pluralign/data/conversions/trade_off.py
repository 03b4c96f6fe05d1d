"""Trade-off: the same pairs of replies judged under several weights, by the sign and the size of λ·Δscore.

The data view of relative-reward regression (closest published relative: REBEL, arXiv 2404.16767) and of CLP's and
MODPO's scalarised rewards (arXiv 2407.15762, 2310.03708); the contrast between weights is what teaches steering.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
    pairs = list(found.pairs())
    first, second = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
    value, known = judged(found.size[first, second], found.verdict[first, second], rows[None])
    preferences = tuple(
        Preference(place, *(pairs[pair] if value[pair, place] > 0 else pairs[pair][::-1]), margin)
        for pair, place in np.argwhere(value != 0).tolist()
        for margin in [abs(float(value[pair, place])) if known[pair, place] else None]
    )
    if not preferences:
        return None
    conditions = tuple(condition.from_vector(row, objectives) for row in rows)
    return Group.of(record, record.responses, conditions, preferences)


def judged(size: Array, verdict: Array, weights: Array) -> tuple[Array, NDArray[np.bool_]]:
    """λ·Δ of pairs under weights: sizes and verdicts [P, K] of first over second, weights [P or 1, L, K].

    Returns values [P, L], above 0 where the first is better, 0 where neither is or nobody knows; and where a value is
    a size [P, L] (elsewhere only its sign counts).
    """
    sized, signed = weighed(weights, size), weighed(weights, verdict)
    known = ~np.isnan(sized)
    return np.nan_to_num(np.where(known, sized, signed), nan=0.0, posinf=np.inf, neginf=-np.inf), known


def weighed(weights: Array, values: Array) -> Array:
    """λ·values [P, L] of weights [P or 1, L, K] and values [P, K]; NaN where a weighed value is unknown, exactly 0
    where the terms cancel."""
    terms = np.where(weights == 0, 0.0, weights * values[:, None])
    total = terms.sum(2)
    return np.where(np.abs(total) < _NO_MARGIN * np.abs(terms).sum(2), 0.0, total)

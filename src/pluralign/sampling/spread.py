"""Spread: how far the scores of replies lie apart, so that weighted sums of several objectives have one unit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pluralign.data.evidence import Array, score_row
from pluralign.data.objective import Objective
from pluralign.data.record import Record


def scores_of(record: Record, objectives: Sequence[Objective]) -> Array:
    """The scores [N, K] of a record's replies in the source's units; NaN where absent."""
    rows = [score_row(response, objectives) for response in record.responses]
    return np.array(rows).reshape(len(rows), len(objectives))


def spreads(records: Sequence[Record], objectives: Sequence[Objective]) -> tuple[float, ...]:
    """The population deviation of each objective's scores over all replies [K]; the width of its range where they do not
    differ, or nobody scored two."""
    scores = np.concatenate([np.empty((0, len(objectives))), *(scores_of(record, objectives) for record in records)])
    known = [column[~np.isnan(column)] for column in scores.T]
    found = [float(column.std()) if len(column) > 1 else 0.0 for column in known]
    return tuple(s if s > 1e-9 else o.high - o.low for s, o in zip(found, objectives, strict=True))

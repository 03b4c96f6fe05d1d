"""Scores in common units: every objective's range is stretched to the same width."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pluralign.data.evidence import aggregate
from pluralign.data.objective import Objective
from pluralign.data.record import Record, Response


def rescaled(
    records: Sequence[Record], objectives: Sequence[Objective], span: float
) -> tuple[Sequence[Record], tuple[Objective, ...]]:
    """Records whose scores run over [0, span] on every objective, and those objectives.

    Missing and abstained scores stay so; raters' ratings are aggregated (they are in the old units). Ranges of that
    width are left alone.
    """
    if all(objective.high - objective.low == span for objective in objectives):
        return records, tuple(objectives)
    by_name = {objective.name: objective for objective in objectives}

    def scale(response: Response) -> Response:
        scores = {
            name: score
            if score is None
            else span * (score - by_name[name].low) / (by_name[name].high - by_name[name].low)
            for name, score in aggregate(response).items()
            if name in by_name
        }
        return dataclasses.replace(response, scores=scores, ratings=())

    changed = [dataclasses.replace(r, responses=tuple(scale(response) for response in r.responses)) for r in records]
    return changed, tuple(dataclasses.replace(objective, low=0.0, high=span) for objective in objectives)

"""Ratings from comparisons: what a method that learns from ratings alone is given where people only compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from pluralign.data.evidence import evidence
from pluralign.data.objective import Objective
from pluralign.data.record import Record


def by_wins(record: Record, objectives: Sequence[Objective]) -> Record:
    """The record with a rating for every reply that was compared on an objective and has none.

    A reply that won more of its comparisons than it lost is rated at the best end of the objective's range, one that lost
    more at the worst, and an even one in the middle.
    """
    verdict = evidence(record, objectives).verdict  # [N, N, K]: 1 where the first is better
    known = np.isfinite(verdict)
    known[np.arange(len(verdict)), np.arange(len(verdict))] = False
    won = np.where(known, np.nan_to_num(verdict), 0.0).sum(1)
    replies = []
    for place, reply in enumerate(record.responses):
        rated = {
            objective.name: _end(objective, float(won[place, k]))
            for k, objective in enumerate(objectives)
            if known[place, :, k].any()
        }
        replies.append(dataclasses.replace(reply, scores={**rated, **reply.scores}))
    return dataclasses.replace(record, responses=tuple(replies))


def _end(objective: Objective, won: float) -> float:
    best, worst = (
        (objective.high, objective.low) if objective.direction == "higher" else (objective.low, objective.high)
    )
    return best if won > 0 else worst if won < 0 else (best + worst) / 2

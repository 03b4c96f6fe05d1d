"""The thesis' comparison on comparisons (its preference data: helpful and safe).

SteerLM needs ratings: a reply that won more of its comparisons on an attribute than it lost is rated at the top of the
attribute's range, one that lost more at the bottom, and ties in the middle. The others learn from the comparisons.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pluralign.comparison.named.thesis import compared
from pluralign.comparison.options import CompareOptions
from pluralign.data import jsonl
from pluralign.data.evidence import evidence
from pluralign.data.objective import Objective
from pluralign.data.record import Record


def publish(options: CompareOptions, command: str) -> dict[str, Any]:
    """Train, measure and write the page."""
    return compared(options, command, "The CMPO thesis' comparison, preference data", rated_by_wins)


def rated_by_wins(path: Path) -> None:
    """Rewrite a file of records: replies without scores get those of their wins."""
    header = jsonl.read_header(path)
    jsonl.write(path, [wins(record, header.objectives) for record in jsonl.read(path)], header.objectives)


def wins(record: Record, objectives: Sequence[Objective]) -> Record:
    """The record with a rating for every reply that was compared on an objective and has none."""
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

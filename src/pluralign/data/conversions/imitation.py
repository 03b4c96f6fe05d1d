"""Imitation: which replies of a record to learn by heart, and what was asked for meanwhile.

    unasked     the best replies by their plain sum of scores
    recorded    each reply under the condition that it was drawn under
    exemplified each reply under each objective alone on which it is scored well (methods.md A1, plural SFT)
    best        under each given weights λ, the replies of the largest λ·s: the rejection-sampling step of directional
                preference alignment (arXiv 2402.18571; methods.md A13)

Scores s count as parts of their ranges, more is better; a missing one counts nothing. Empty replies and corrupted ones
(`extra["corrupted"]`) are never imitated. `share` of the replies at hand is kept, best first, at least one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pluralign.data.condition import Condition, Weights, from_vector, one_hot, vector
from pluralign.data.evidence import Array, direction_signs, score_row
from pluralign.data.group import Group
from pluralign.data.objective import Objective
from pluralign.data.record import Record, Response


def unasked(record: Record, objectives: Sequence[Objective], share: float = 1.0) -> list[Group]:
    """One group for each of the best replies, without a condition."""
    return _best(record, _usable(record), None, objectives, share)


def recorded(record: Record, objectives: Sequence[Objective], share: float = 1.0) -> list[Group]:
    """One group for each reply with its condition (None where it has none); the share is of each condition's replies."""
    usable = _usable(record)
    return [
        group
        for condition in dict.fromkeys(reply.condition for reply in usable)
        for group in _best(record, [r for r in usable if r.condition == condition], condition, objectives, share)
    ]


def exemplified(record: Record, objectives: Sequence[Objective], least: float = 0.75) -> list[Group]:
    """One group for each reply and each objective on which its score is at least this part of the range's better end."""
    low, width = (np.array(each) for each in zip(*((o.low, o.high - o.low) for o in objectives), strict=True))
    groups = []
    for reply in _usable(record):
        share = (score_row(reply, objectives) - low) / width
        share = np.where(direction_signs(objectives) > 0, share, 1 - share)
        groups += [
            Group.of(record, [reply], (one_hot(objective.name),))
            for objective, part in zip(objectives, share, strict=True)
            if part >= least - 1e-9
        ]
    return groups


def best(record: Record, objectives: Sequence[Objective], weights: Array, share: float = 0.0) -> list[Group]:
    """Under each of the weights [L, K], one group for each of the best replies; share 0 is the single best."""
    usable = _usable(record)
    return [
        group for row in weights for group in _best(record, usable, from_vector(row, objectives), objectives, share)
    ]


def comparable(record: Record, objectives: Sequence[Objective]) -> NDArray[np.bool_]:
    """Objectives [K] on which the record has two usable replies and all of them are scored."""
    usable = _usable(record)
    if len(usable) < 2:
        return np.zeros(len(objectives), dtype=np.bool_)
    scored: NDArray[np.bool_] = np.logical_and.reduce([~np.isnan(score_row(reply, objectives)) for reply in usable])
    return scored


def _usable(record: Record) -> list[Response]:
    return [reply for reply in record.responses if reply.text and not reply.extra.get("corrupted")]


def _best(
    record: Record,
    replies: Sequence[Response],
    condition: Condition | None,
    objectives: Sequence[Objective],
    share: float,
) -> list[Group]:
    weights = vector(condition, objectives) if isinstance(condition, Weights) else np.ones(len(objectives))
    factor = weights * direction_signs(objectives) / np.array([each.high - each.low for each in objectives])
    ranked = sorted(replies, key=lambda reply: -float(np.nansum(score_row(reply, objectives) * factor)))
    return [Group.of(record, [reply], (condition,)) for reply in ranked[: max(1, round(share * len(ranked)))]]

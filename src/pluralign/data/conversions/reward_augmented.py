"""Reward-augmented relabelling: the same pair twice, each reply winning when its own score is what is asked for.

RAD (Zhang et al. 2024, arXiv 2410.08067; methods.md A17): the goal g is a score; the implied reward is
R(x, y, g) = -(g - s(y))². A pair with s_w > s_l gives two preferences: under g = s_w the better reply wins, under
g = s_l the worse one. At inference the goal is the highest score. With several objectives g is a vector and
R = -‖g - s‖², in parts of the ranges, so that no objective's units count more.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from pluralign.data.condition import Condition, Targets
from pluralign.data.evidence import Array, score_row
from pluralign.data.group import Group, Preference
from pluralign.data.objective import Objective, names
from pluralign.data.record import Record


def reward_augmented(record: Record, objectives: Sequence[Objective]) -> list[Group]:
    """The record's group (or none): two preferences for each pair of replies whose scores differ.

    Conditions are Targets, in the objectives' units: the scores of one reply on all objectives on which both are
    scored. A preference's margin is ‖s_w - s_l‖², the difference of R. Pairs with equal scores, or without an
    objective in common, give nothing; a 'lower' objective needs no turning, since goals are met, not exceeded.
    """
    width = np.array([objective.high - objective.low for objective in objectives])
    rows = [score_row(response, objectives) for response in record.responses]
    places: dict[Condition | None, int] = {}
    preferences = []
    for i, j in combinations(range(len(rows)), 2):
        both = ~np.isnan(rows[i] + rows[j])
        distance = float((((rows[i] - rows[j]) / width)[both] ** 2).sum())
        if distance > 0:
            for own, other in ((i, j), (j, i)):
                place = places.setdefault(_goal(rows[own], both, objectives), len(places))
                preferences.append(Preference(place, own, other, distance))
    return [Group.of(record, record.responses, tuple(places), tuple(preferences))] if preferences else []


def _goal(row: Array, kept: np.ndarray, objectives: Sequence[Objective]) -> Targets:
    scores = zip(names(objectives), row.tolist(), kept.tolist(), strict=True)
    return Targets({name: score for name, score, known in scores if known})

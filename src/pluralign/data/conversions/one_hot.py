"""One-hot: each objective alone is a condition; under it, whoever is better on that objective wins.

CMPO (Manyika, MIT MEng thesis, 2024), variant (i); also the data view of one DPO model per objective, as in MOD
(arXiv 2406.18853) and Rewarded Soups (arXiv 2306.04488).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pluralign.data import condition
from pluralign.data.evidence import Evidence, evidence
from pluralign.data.group import Group, Preference
from pluralign.data.objective import Objective, names
from pluralign.data.record import Record


def one_hot(record: Record, objectives: Sequence[Objective]) -> list[Group]:
    """The record's group (or none), one preference for each pair and each objective that tells the pair apart.

    Conditions are only those objectives that give a preference. The margin is the score difference (or the
    comparison's strength), None when only the direction is known; ties, missing and abstentions give nothing.
    """
    found = evidence(record, objectives)
    used = [k for k in range(len(objectives)) if (found.verdict[:, :, k] > 0).any()]
    if not used:
        return []
    preferences = tuple(
        _preference(place, i, j, k, found)
        for place, k in enumerate(used)
        for i, j in found.pairs()
        if abs(found.verdict[i, j, k]) > 0
    )
    conditions = tuple(condition.one_hot(names(objectives)[k]) for k in used)
    return [Group.of(record, record.responses, conditions, preferences)]


def _preference(place: int, i: int, j: int, k: int, found: Evidence) -> Preference:
    chosen, rejected = (i, j) if found.verdict[i, j, k] > 0 else (j, i)
    size = float(found.size[chosen, rejected, k])
    return Preference(place, chosen, rejected, None if np.isnan(size) else size)

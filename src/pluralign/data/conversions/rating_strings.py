"""Rating strings: what people rated, in one line that a model learns to obey: "helpfulness:4,correctness:3".

SteerLM (Dong et al. 2023, arXiv 2310.05344; methods.md A9): a fixed order, whole numbers, no spaces, what nobody rated
left out; a reply without any rating is left out altogether.

Fixed where the paper is silent: halves round up; `levels` stretches every range over 0 .. levels - 1 (5 for SteerLM's
own scale), 0 rounds to whole numbers of the source's own units. A 'lower' objective is not turned round ("toxicity:0").
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pluralign.data import condition
from pluralign.data.condition import Targets
from pluralign.data.evidence import aggregate
from pluralign.data.group import Group
from pluralign.data.objective import Objective, known, names
from pluralign.data.record import Record, Response
from pluralign.errors import ConditionError, ConfigError


def rating_strings(record: Record, objectives: Sequence[Objective], levels: int = 0) -> list[Group]:
    """One group for each rated reply, to be imitated under its own ratings (Targets, in the objectives' units)."""
    groups = []
    for response in record.responses:
        found = quantised(response, objectives, levels)
        if found:
            asked = Targets({name: score_of(found[name], _by_name(objectives)[name], levels) for name in found})
            groups.append(Group.of(record, [response], (asked,)))
    return groups


def quantised(response: Response, objectives: Sequence[Objective], levels: int = 0) -> dict[str, int]:
    """The whole numbers of a reply, in the order of the objectives; missing and abstained ones are left out.

    Raises ConfigError for 1 level or fewer than 0.
    """
    if levels == 1 or levels < 0:
        raise ConfigError(f"levels is 0 (whole numbers of the source's units) or at least 2, got {levels}")
    scores = aggregate(response)
    return {
        objective.name: level_of(score, objective, levels)
        for objective in objectives
        if (score := scores.get(objective.name)) is not None
    }


def linearise(values: Mapping[str, float]) -> str:
    """The string of these values, in their order."""
    return str(Targets(values))


def parse(text: str) -> dict[str, float]:
    """The values of a string, the inverse of `linearise`. Raises ConditionError for anything else."""
    found = condition.parse(text)
    if not isinstance(found, Targets) or found.strength != 1.0:
        raise ConditionError(f"a rating string is written 'helpfulness:4,correctness:3', got {text!r}")
    return dict(found.values)


def ordered(objectives: Sequence[Objective], order: Sequence[str]) -> tuple[Objective, ...]:
    """The objectives that are named, in that order; all of them for an empty order. Raises ConditionError."""
    known(order, objectives)
    return tuple(_by_name(objectives)[name] for name in order or names(objectives))


def _by_name(objectives: Sequence[Objective]) -> dict[str, Objective]:
    return {objective.name: objective for objective in objectives}


def level_of(score: float, objective: Objective, levels: int) -> int:
    """The whole number of a score; `levels` as in `quantised`."""
    if not levels:
        return math.floor(score + 0.5)
    part = (score - objective.low) / (objective.high - objective.low)
    return min(max(math.floor(part * (levels - 1) + 0.5), 0), levels - 1)


def score_of(level: float, objective: Objective, levels: int) -> float:
    """The score that a level stands for, in the objective's units."""
    return objective.low + level / (levels - 1) * (objective.high - objective.low) if levels else float(level)

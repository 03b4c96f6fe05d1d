"""Min margin: the power set's pairs, judged by the objective on which they differ least.

A stricter neighbour of the CMPO thesis' net margin (Manyika 2024; methods.md A1): a sum over S can be large although
one objective of S hardly differs, the smallest difference cannot. The thesis uses it to break ties of the net margin;
as the first criterion, and as a threshold, it is ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pluralign.data.conversions.power_set import Item, group_of, largest, valid_pairs
from pluralign.data.evidence import evidence
from pluralign.data.group import Group
from pluralign.data.objective import Objective
from pluralign.data.record import Record
from pluralign.errors import ConfigError


def min_margin(
    record: Record, objectives: Sequence[Objective], least: float = 0.0, best_only: bool = True
) -> list[Group]:
    """The record's group (or none): for each set S of objectives the pair whose smallest difference over S is largest.

    Ties go to the larger sum, then to the earlier pair. Only pairs that differ by at least `least` (in the units of
    the scores) on every objective of S stay; with `best_only` False all of these. Pairs known only by direction have
    no difference: they all stay when `least` is 0, and none otherwise. Conditions and margins are the power set's.
    Raises ConfigError for a negative or infinite threshold, or for a power set beyond its limit.
    """
    if not (math.isfinite(least) and least >= 0):
        raise ConfigError(f"the least margin is a finite number from 0, got {least}")
    items = [item for item in valid_pairs(evidence(record, objectives)) if _wide(item, least)]
    return group_of(largest(items, _smallest_first) if best_only else items, record, objectives)


def _wide(item: Item, least: float) -> bool:
    return least == 0 if item[3] is None else item[4] >= least


def _smallest_first(item: Item) -> tuple[float, float]:
    return item[4], item[3] or 0.0

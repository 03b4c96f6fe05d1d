"""Chained: pairs of replies for chains of hindsight, one better than the other on a set of objectives that words name.

Source: Chain of Hindsight (Liu et al. 2023, arXiv 2302.02676; methods.md A16), step 1, for several objectives: a set is
drawn (its size first, all sizes alike), and the better reply has the better mean over it, by scores as parts of their
ranges or by comparisons; a pair is drawn at random, or is the one that differs most. Corrupted and empty replies are left
out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from pluralign.data.conversions.trade_off import trade_off
from pluralign.data.objective import Objective, names
from pluralign.data.record import Record, Response

Subset = tuple[int, ...]
MOST_TOGETHER = 3
"""Objectives that words name together, unless said otherwise."""


def pairs(
    record: Record,
    objectives: Sequence[Objective],
    num: int,
    rng: np.random.Generator,
    most: int = MOST_TOGETHER,
    widest: bool = False,
) -> Iterator[tuple[Subset, Response, Response]]:
    """(objectives, better, worse) for each of `num` sets drawn at random that tells two replies apart."""
    known = sets(len(objectives), most)
    largest = max(map(len, known))
    by_size = [[chosen for chosen in known if len(chosen) == size] for size in range(1, largest + 1)]
    sizes = [by_size[int(size)] for size in rng.integers(largest, size=num)]
    drawn = [same[int(rng.integers(len(same)))] for same in sizes]
    ranges = np.array([objective.high - objective.low for objective in objectives])
    rows = np.array([[float(j in chosen) / len(chosen) for j in range(len(objectives))] for chosen in drawn]) / ranges
    judged = trade_off(record, objectives, rows)
    fine = [bool(reply.text) and not reply.extra.get("corrupted") for reply in record.responses]
    told = [p for p in judged.preferences if fine[p.chosen] and fine[p.rejected]] if judged else []
    for number, chosen in enumerate(drawn):
        found = [preference for preference in told if preference.condition == number]
        if found:
            widths = [preference.margin or 0.0 for preference in found]
            kept = [pair for pair, width in zip(found, widths, strict=True) if not widest or width == max(widths)]
            pair = kept[int(rng.integers(len(kept)))]
            yield chosen, record.responses[pair.chosen], record.responses[pair.rejected]


def sets(num: int, most: int = MOST_TOGETHER) -> list[Subset]:
    """Sets of up to `most` objectives (places) that words name."""
    return [chosen for size in range(1, min(num, most) + 1) for chosen in combinations(range(num), size)]


def listed(chosen: Subset, objectives: Sequence[Objective]) -> str:
    """ "helpful, warm and funny"."""
    *most, last = [names(objectives)[place] for place in chosen]
    return f"{', '.join(most)} and {last}" if most else last

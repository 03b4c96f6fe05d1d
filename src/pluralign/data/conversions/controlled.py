"""Controlled pairs: some objectives C held at wished scores c, the others as good as can be.

    R(y; c) = Σ_{i in C} −λ_i |s_i − c_i| + Σ_{i not in C} ω_i s_i

Controllable preference optimisation (Guo et al. 2024, arXiv 2402.19085; methods.md A11): of every pair of a prompt's
replies whose R differ, the larger one is chosen. Fixed where the paper is silent: C is any non-empty subset, its size
drawn evenly; scores count in parts of their ranges, more is better outside C; a term that one of two replies lacks is
left out of their comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pluralign.data.condition import Targets
from pluralign.data.evidence import Array, direction_signs, score_row
from pluralign.data.group import Group, Preference
from pluralign.data.objective import Objective
from pluralign.data.record import Record

Mask = NDArray[np.bool_]


def partly_rated(record: Record, objectives: Sequence[Objective], seed: Sequence[int]) -> list[Group]:
    """Every rated reply, to be imitated under a drawn part of its own scores (Targets)."""
    rng, groups = np.random.default_rng(seed), []
    for reply in record.responses:
        row = score_row(reply, objectives)
        chosen = subset(rng, ~np.isnan(row))
        if chosen.any():
            groups.append(Group.of(record, [reply], (wish(row, chosen, objectives),)))
    return groups


@dataclass(frozen=True)
class Controlled:
    """How pairs are judged: `target` c is drawn from the prompt's replies or the best end of a range; `held` is λ and
    `free` ω, one number for all objectives each."""

    objectives: Sequence[Objective]
    target: Literal["drawn", "best"] = "drawn"
    held: float = 1.0
    free: float = 1.0

    def pairs(self, record: Record, rng: np.random.Generator, num: int) -> list[Group]:
        """A group for each of at most `num` distinct conditions: all pairs that R tells apart, margin |R - R'|."""
        best = np.array([each.high if each.direction == "higher" else each.low for each in self.objectives])
        rows = np.stack([score_row(reply, self.objectives) for reply in record.responses])
        drawn: dict[Targets, Mask] = {}
        for _ in range(num):
            row = rows[rng.integers(len(rows))]
            chosen = subset(rng, ~np.isnan(row))
            if chosen.any():
                drawn[wish(row if self.target == "drawn" else best, chosen, self.objectives)] = chosen
        judged = [(asked, preferred(self.terms(rows, asked, chosen))) for asked, chosen in drawn.items()]
        return [Group.of(record, record.responses, (asked,), found) for asked, found in judged if found]

    def terms(self, rows: Array, asked: Targets, chosen: Mask) -> Array:
        """The terms [N, K] of R for scores [N, K]; NaN where a score is missing."""
        width = np.array([each.high - each.low for each in self.objectives])
        goal = np.array([asked.values.get(each.name, 0.0) for each in self.objectives])
        better = rows * direction_signs(self.objectives)
        found: Array = np.where(chosen, -self.held * np.abs(rows - goal), self.free * better) / width
        return found


def subset(rng: np.random.Generator, known: Mask) -> Mask:
    """A random part of the known objectives [K]: its size first, evenly from one to all; none where none is known."""
    chosen = np.zeros(len(known), dtype=np.bool_)
    places = np.flatnonzero(known)
    if len(places):
        chosen[rng.permutation(places)[: rng.integers(1, len(places) + 1)]] = True
    return chosen


def wish(row: Array, chosen: Mask, objectives: Sequence[Objective]) -> Targets:
    """The chosen entries of scores [K] as targets."""
    return Targets({each.name: float(score) for each, score, yes in zip(objectives, row, chosen, strict=True) if yes})


def preferred(terms: Array) -> tuple[Preference, ...]:
    """Every pair whose sums of common terms [N, K] differ, with the difference as its margin."""
    found = []
    for i, j in combinations(range(len(terms)), 2):
        gap = float(np.nansum(terms[i] - terms[j]))
        if abs(gap) > 1e-9:
            found.append(Preference(0, *((i, j) if gap > 0 else (j, i)), abs(gap)))
    return tuple(found)

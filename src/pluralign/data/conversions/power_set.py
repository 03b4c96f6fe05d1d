"""Power set: every set of objectives on which a reply is better becomes a condition under which it wins.

CMPO (Manyika, MIT MEng thesis, 2024), eq. 3.2. For an ordered pair (y, y') with A_+ = {a : y beats y' on a}, each
non-empty S in A_+ gives the preference y over y' under λ^S = 1/|S| on S and 0 elsewhere: 2^|A_+| - 1 of them.

Fixed where the thesis is silent: the empty set is dropped; the net margin is the sum over S, ties go to the larger
smallest difference, then to the earlier pair of the record.

Other weights of S (`form`; the thesis' appendices A.1 and A.2, whose formulas are lost in the copy at hand; methods.md
A1 fixes them):

    share        1/|S| on S                                                    eq. 3.2
    ratio        q_a / Σ_b q_b on S,  q_a = (s_a(y) + 1) / (s_a(y') + 1)       A.2; s counted from its range's worse end
    opposite     1/|S| on S, −1/|S| on each a on which y' beats y              A.1
    complement   1/|S| on S, −1/|S| on every other a                           A.1, the other reading
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, combinations
from typing import Literal, get_args

import numpy as np

from pluralign.data.condition import Weights, from_vector
from pluralign.data.evidence import Array, Evidence, direction_signs, evidence, score_row
from pluralign.data.group import Group, Preference
from pluralign.data.objective import Objective, names
from pluralign.data.record import Record, Response
from pluralign.errors import ConfigError, DataError

MAX_BETTER = 12
Form = Literal["share", "ratio", "opposite", "complement"]
Item = tuple[tuple[int, ...], int, int, float | None, float]
"""(S, chosen, rejected, sum of the differences over S, smallest of them)."""


def power_set(
    record: Record, objectives: Sequence[Objective], net_margin: bool = True, form: Form = "share"
) -> list[Group]:
    """The record's group (or none, if nobody is better on anything), one preference per (S, pair).

    Both orders of a pair occur when each is better on something. Ties, missing and abstained labels count for
    neither. `net_margin` keeps, for each S, only the pair with the largest sum of differences over S; pairs known
    only by direction have no sum and are all kept. A preference's margin is λ·Δscore (sum / |S| for form share); None
    where it is not known or, with negative weights, below 0. Raises ConfigError if one reply is better on more than 12
    objectives (4095 sets), and for another form; DataError for ratios without scores.
    """
    if form not in get_args(Form):
        raise ConfigError(f"form is one of {', '.join(get_args(Form))}, got {form!r}")
    found = evidence(record, objectives)
    items = list(valid_pairs(found))
    kept = largest(items, _net) if net_margin else items
    if form == "share":
        return group_of(kept, record, objectives)
    return _weighted(
        kept, [_weights(item, form, found, record, objectives) for item in kept], found, record, objectives
    )


def _weighted(
    items: Sequence[Item], weights: Sequence[Array], found: Evidence, record: Record, objectives: Sequence[Objective]
) -> list[Group]:
    """The group whose items are judged under weights [K] of their own."""
    if not items:
        return []
    asked = [from_vector(row, objectives) for row in weights]
    place = {condition: index for index, condition in enumerate(dict.fromkeys(asked))}
    preferences = []
    for item, row, condition in zip(items, weights, asked, strict=True):
        terms = np.where(row == 0, 0.0, row * found.size[item[1], item[2]])
        margin = float(terms.sum())
        known = math.isfinite(margin) and margin >= 0
        preferences.append(Preference(place[condition], item[1], item[2], margin if known else None))
    return [Group.of(record, record.responses, tuple(place), tuple(preferences))]


def _weights(item: Item, form: Form, found: Evidence, record: Record, objectives: Sequence[Objective]) -> Array:
    chosen_set, chosen, rejected, *_ = item
    inside = np.isin(np.arange(len(objectives)), chosen_set)
    if form == "ratio":
        better, worse = (_from_worse_end(record.responses[place], objectives) for place in (chosen, rejected))
        ratio = np.where(inside, (better + 1) / (worse + 1), 0.0)
        if np.isnan(ratio).any():
            raise DataError(f"record {record.id!r}: ratio weights need scores of both replies; use form share")
        return np.asarray(ratio / ratio.sum())
    against = found.verdict[chosen, rejected] < 0 if form == "opposite" else ~inside
    return np.where(inside, 1.0, np.where(against, -1.0, 0.0)) / len(chosen_set)


def _from_worse_end(response: Response, objectives: Sequence[Objective]) -> Array:
    scores = score_row(response, objectives)
    low, high = (np.array([getattr(each, end) for each in objectives]) for end in ("low", "high"))
    return np.where(direction_signs(objectives) > 0, scores - low, high - scores)


def _net(item: Item) -> tuple[float, float]:
    return item[3] or 0.0, item[4]


def group_of(items: Sequence[Item], record: Record, objectives: Sequence[Objective]) -> list[Group]:
    """The group of a record's (S, pair) items, none if there are none."""
    if not items:
        return []
    sets = list(dict.fromkeys(item[0] for item in items))
    place = {chosen_set: index for index, chosen_set in enumerate(sets)}
    preferences = tuple(
        Preference(place[chosen_set], chosen, rejected, None if total is None else total / len(chosen_set))
        for chosen_set, chosen, rejected, total, _ in items
    )
    conditions = tuple(_uniform(chosen_set, names(objectives)) for chosen_set in sets)
    return [Group.of(record, record.responses, conditions, preferences)]


def valid_pairs(found: Evidence) -> Iterator[Item]:
    """Every (S, pair) whose chosen reply is better on all of S."""
    for i, j in found.pairs():
        for chosen, rejected in ((i, j), (j, i)):
            sizes = found.size[chosen, rejected].tolist()
            better = np.flatnonzero(found.verdict[chosen, rejected] > 0).tolist()
            yield from (_item(chosen_set, chosen, rejected, sizes) for chosen_set in _subsets(better))


def _subsets(better: list[int]) -> Iterator[tuple[int, ...]]:
    if len(better) > MAX_BETTER:
        raise ConfigError(
            f"a reply is better on {len(better)} objectives, {2 ** len(better) - 1} sets; the power set is "
            f"limited to {MAX_BETTER}: choose fewer objectives, or the one-hot or trade-off conversion"
        )
    return chain.from_iterable(combinations(better, num) for num in range(1, len(better) + 1))


def _item(chosen_set: tuple[int, ...], chosen: int, rejected: int, sizes: list[float]) -> Item:
    differences = [sizes[k] for k in chosen_set]
    total = sum(differences)
    return chosen_set, chosen, rejected, None if math.isnan(total) else total, min(differences)


def largest(items: Sequence[Item], rank: Callable[[Item], tuple[float, float]]) -> list[Item]:
    """For each S the pair of the largest rank, the earlier one where ranks agree; pairs without a sum all stay."""
    best: dict[tuple[int, ...], tuple[float, float]] = {}
    winner: dict[tuple[int, ...], Item] = {}
    for item in items:
        if item[3] is None:
            continue
        first, second = rank(item)
        found = (round(first, 9), round(second, 9))  # sums of decimal scores differ in the last bit
        if item[0] not in best or found > best[item[0]]:
            best[item[0]], winner[item[0]] = found, item
    return [item for item in items if item[3] is None or winner[item[0]] is item]


def _uniform(chosen_set: tuple[int, ...], allowed: Sequence[str]) -> Weights:
    return Weights({allowed[k]: 1 / len(chosen_set) for k in chosen_set})

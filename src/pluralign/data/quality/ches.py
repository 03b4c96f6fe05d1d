"""CHES: pairs whose replies look so alike inside the model that preferring one pushes both down (displacement).

Razin et al. 2024, arXiv 2410.08847; methods.md E9. S_y = Σ_t h_{x, y<t}, the sum of the last hidden states that predict
each token of the reply; CHES = <S_w, S_l> - ‖S_w‖², or, length-normalised, <S_w, S_l>/(|y_w||y_l|) - ‖S_w‖²/|y_w|².
The higher, the more likelihood is displaced. The filter keeps the pairs of the lowest share.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pluralign.data.evidence import Array
from pluralign.data.group import Group, Preference
from pluralign.errors import ConfigError, DataError

States = Callable[[Group], Sequence[ArrayLike]]
"""The hidden states [T_n, d] of each response of a group, before the head: the hook to a policy."""


def ches(chosen: ArrayLike, rejected: ArrayLike, normalised: bool = True) -> float:
    """The score of one pair from its hidden states [T, d] (one row per predicted token of the reply).

    Raises DataError for states of different widths, without a token, or not finite.
    """
    w, l_ = _states(chosen), _states(rejected)
    if w.shape[1] != l_.shape[1]:
        raise DataError(f"hidden states of one model have one width, got {w.shape[1]} and {l_.shape[1]}")
    return _score(w.sum(0), l_.sum(0), len(w), len(l_), normalised)


def keep_lowest(scores: ArrayLike, share: float) -> NDArray[np.bool_]:
    """Which of the scores [P] are in the lowest share (0, 1], at least one; of equal scores the earlier ones.

    Raises ConfigError for another share. The paper keeps 5 % to 50 %.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"the share to keep is above 0 and at most 1, got {share}")
    values = np.asarray(scores, dtype=np.float64)
    kept = np.zeros(values.shape, dtype=np.bool_)
    kept[np.argsort(values, kind="stable")[: max(1, math.floor(share * len(values)))]] = True
    return kept


def scored(groups: Iterable[Group], states: States, normalised: bool = True) -> Iterator[list[float]]:
    """CHES of every preference of each group, in order; states are asked for once per group with preferences.

    In a plural model all conditions share the trunk, so a pair has one score.
    """
    for group in groups:
        rows = [_states(row) for row in states(group)] if group.preferences else []
        if group.preferences and len(rows) != len(group.responses):
            raise DataError(f"the hook gave states of {len(rows)} replies for a group of {len(group.responses)}")
        sums = [(row.sum(0), len(row)) for row in rows]
        yield [
            _score(sums[p.chosen][0], sums[p.rejected][0], sums[p.chosen][1], sums[p.rejected][1], normalised)
            for p in group.preferences
        ]


def filtered(groups: Sequence[Group], states: States, share: float = 0.5, normalised: bool = True) -> list[Group]:
    """The groups with the preferences of the lowest share over all of them; groups left without one are dropped.

    Groups that had no preference (imitation) stay. One number per preference is held.
    """
    scores = list(scored(groups, states, normalised))
    flat = [score for row in scores for score in row]
    kept = iter(keep_lowest(flat, share).tolist() if flat else [])
    found = []
    for group in groups:
        left: tuple[Preference, ...] = tuple(p for p in group.preferences if next(kept))
        if left or not group.preferences:
            found.append(dataclasses.replace(group, preferences=left))
    return found


def _score(w: Array, l_: Array, w_tokens: int, l_tokens: int, normalised: bool) -> float:
    long_w, long_l = (w_tokens, l_tokens) if normalised else (1, 1)
    return float(w @ l_ / (long_w * long_l) - w @ w / long_w**2)


def _states(rows: ArrayLike) -> Array:
    values = np.asarray(rows, dtype=np.float64)
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise DataError(f"hidden states are finite numbers [T, d], T >= 1; got shape {values.shape}")
    return values

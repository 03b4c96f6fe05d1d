"""Length bias of scores: the correlation of each objective's scores with the reply's length, and the means by length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pluralign.data.evidence import Array, direction_signs
from pluralign.data.inspect.look import Places
from pluralign.data.inspect.sums import Sums
from pluralign.data.objective import Objective

_STEPS = 32


@dataclass(frozen=True, slots=True)
class LengthFacts:
    """`correlation` [K] of scores (signed so that more is better) with characters; NaN where one does not vary.

    `at_least` [S] are lengths (0, 1, 2, 4, 8 ...): step s holds the replies from at_least[s] to below the next;
    `mean` [S, K] are the mean scores there, in the source's units, of `num` [S, K] replies.
    """

    correlation: Array
    at_least: list[int]
    mean: Array
    num: Array


class LengthBias:
    """Scores and lengths of replies, added block by block."""

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self.signs = direction_signs(objectives)
        middle = [(objective.low + objective.high) / 2 for objective in objectives]
        self.sums = Sums(np.array([*middle, 0.0]))
        self.num, self.total = np.zeros((_STEPS, len(objectives))), np.zeros((_STEPS, len(objectives)))

    def add(self, scores: Array, lengths: Places) -> None:
        """Add scores [B, K] (NaN: none) of replies with so many characters [B]."""
        self.sums.add(np.column_stack([scores, lengths]))
        steps = np.minimum(np.frexp(lengths.astype(np.float64))[1], _STEPS - 1)
        np.add.at(self.num, steps, ~np.isnan(scores))
        np.add.at(self.total, steps, np.nan_to_num(scores))

    def result(self) -> LengthFacts:
        """The correlations, and the steps of length that occur."""
        used = np.flatnonzero(self.num.any(axis=1))
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = (self.total / self.num)[used]
        at_least = [0 if step == 0 else 1 << (int(step) - 1) for step in used]
        return LengthFacts(self.sums.correlation()[-1, :-1] * self.signs, at_least, mean, self.num[used])

"""Contrast steering: a change per objective, and two more that exist while they are learnt from (RAHF).

The two sides, trained on better and on worse replies, live in the same model as what learns from their difference, so that
one forward pass gives all of them. Once trained they are empty. See methods/rahf.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pluralign.data.condition import Weights, vector
from pluralign.data.objective import Objective
from pluralign.steering.surgery import Rank, Where
from pluralign.steering.weighted import WeightedSteering

GOOD, BAD = "side-good", "side-bad"
"""Names of the sides in weights; a policy's bounds let nobody ask for them."""


@dataclass
class ContrastSteering(WeightedSteering):
    """Changes mixed by the asked weights, and the two sides."""

    kind: ClassVar[str] = "contrast"

    where: Where = "attention"
    """attention (paper: query and value), all, or head"""
    rank: Rank = 8
    """rank of each change (paper: 8)"""

    def num_changes(self, objectives: Sequence[Objective]) -> int:
        """K and the two sides."""
        return len(objectives) + 2

    def amounts(self, weights: Weights, objectives: Sequence[Objective]) -> NDArray[np.float64]:
        """The weights, then those of the sides."""
        sides = [weights.strength * weights.values.get(side, 0.0) for side in (GOOD, BAD)]
        rest = {name: value for name, value in weights.values.items() if name not in (GOOD, BAD)}
        own = vector(Weights(rest, weights.strength), objectives) if rest else np.zeros(len(objectives))
        return np.array([*own, *sides])

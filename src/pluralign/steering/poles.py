"""Poles: two opposite changes for each objective, and the chosen ones merged.

    θ = θ_0 + Σ_c a_c ΔW_c,     a_c = s / |C| (uniform) or s |w_j| (weighted),     c = (j, sign of w_j)

Source: Jang et al. 2023, arXiv 2310.11564 (methods.md A5): a dimension of preference has two poles (concise, long),
a policy is trained for each, and those that a person chose are averaged. A weight above 0 chooses the objective's high
pole, one below 0 its low pole, so that no dimension is asked for both ways, where the two would cancel. The changes
stand in pairs: (high, low) of the first objective, then of the second, and so on.

Products B_c A_c are merged, which is exact (`average` products), or their factors apart, as in the public code:

    θ = θ_0 + (Σ_c √s a_c B_c)(Σ_c √s a_c A_c),     s the strength                      (`average` factors; `averaged.py`)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from pluralign.data.condition import SUM_TOLERANCE, Condition, Weights, vector
from pluralign.data.objective import Objective
from pluralign.errors import ConditionError, ConfigError
from pluralign.steering.averaged import AveragedDeltas
from pluralign.steering.deltas import Deltas
from pluralign.steering.weighted import WeightedSteering


@dataclass
class PolesSteering(WeightedSteering):
    """A change for each end of every objective; signed weights choose among them."""

    kind: ClassVar[str] = "poles"

    merge: Literal["uniform", "weighted"] = "uniform"
    """uniform: every chosen pole counts the same (the paper); weighted: as much as its weight"""
    average: Literal["products", "factors"] = "products"
    """products: the policies' weights are averaged; factors: their LoRA matrices A and B, each apart (public code)"""

    def __post_init__(self) -> None:
        if self.merge not in ("uniform", "weighted"):
            raise ConfigError(f"merge is uniform or weighted, got {self.merge!r}")
        if self.average not in ("products", "factors"):
            raise ConfigError(f"average is products or factors, got {self.average!r}")

    def num_changes(self, objectives: Sequence[Objective]) -> int:
        """Two per objective."""
        return 2 * len(objectives)

    def changes(self) -> type[Deltas]:
        """Products, or factors, which a change of rank full has none of (ConfigError)."""
        return AveragedDeltas if self.average == "factors" else Deltas

    def translate(self, condition: Condition, objectives: Sequence[Objective]) -> Weights:
        """Weights as they are. ConditionError for other kinds, and for weights whose sizes do not sum to 1."""
        weights = super().translate(condition, objectives)
        total = sum(map(abs, weights.values.values()))
        if abs(total - 1) > SUM_TOLERANCE:
            raise ConditionError(
                f"the sizes of the weights must sum to 1, those of {condition} sum to {total:g}; a weight below 0 asks for "
                "an objective's low end; scale all of them with ' @STRENGTH'"
            )
        return weights

    def amounts(self, weights: Weights, objectives: Sequence[Objective]) -> NDArray[np.float64]:
        """[high_1, low_1, high_2, low_2, ..]."""
        if weights.strength < 0:
            raise ConditionError("a pole is asked for by a weight below 0, not by a strength below 0")
        chosen = vector(replace(weights, strength=1.0), objectives)
        if self.merge == "uniform":
            chosen = np.sign(chosen) / np.count_nonzero(chosen)
        strength = weights.strength**0.5 if self.average == "factors" else weights.strength  # once in A and once in B
        return strength * np.stack([chosen.clip(0), (-chosen).clip(0)], axis=1).ravel()

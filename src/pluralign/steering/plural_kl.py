"""Plural steering with a KL level: a change per objective and one more for α, the weight of staying near the reference.

    θ(w, α) = θ_0 + Σ_i (1 − α) w_i ΔW_i + α ΔW_α          V_{α,w} = (1 − α) w·R − α KL(π ‖ π_ref)

Source: Wang et al. 2024, arXiv 2407.15762 (methods.md A2): with one objective these are the paper's two copies,
(1 − α) θ^(1) + α θ^(2); with several, weights and α together are a copy more than objectives (our reading).

A condition asks for α by its strength s: α/(1 − α) is the β of the KL-regularised objective, and strength s divides it,

    α = α_1 / (α_1 + s (1 − α_1))           s = 1: α_1;  s → 0: α = 1, the reference's own objective;  s → ∞: α = 0

so that twice the strength weighs the rewards twice as much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pluralign.data.condition import Condition, Weights, vector
from pluralign.data.objective import Objective
from pluralign.errors import ConditionError, ConfigError
from pluralign.steering.weighted import WeightedSteering

_TOLERANCE = 1e-6


@dataclass
class PluralKL(WeightedSteering):
    """A change per objective and one for α; the strength of a condition says how near to stay."""

    kind: ClassVar[str] = "plural_kl"

    alpha: float = 0.05
    """α_1, the level that strength 1 asks for"""
    lowest: float = 0.01
    """the smallest α that was trained"""
    highest: float = 0.5
    """the largest α that was trained"""

    def __post_init__(self) -> None:
        if not 0 < self.lowest <= self.alpha <= self.highest <= 1 or self.alpha == 1:
            raise ConfigError(
                "levels of KL need 0 < lowest <= alpha <= highest <= 1 and alpha below 1, got "
                f"{self.lowest}, {self.alpha}, {self.highest}"
            )

    def num_changes(self, objectives: Sequence[Objective]) -> int:
        """One per objective and one for α."""
        return len(objectives) + 1

    def level(self, strength: float) -> float:
        """α of a strength from 0."""
        return self.alpha / (self.alpha + strength * (1 - self.alpha))

    def strength(self, level: float) -> float:
        """The strength that asks for α in (0, 1]; the inverse of `level`."""
        return self.alpha * (1 - level) / (level * (1 - self.alpha))

    def translate(self, condition: Condition, objectives: Sequence[Objective]) -> Weights:
        """Weights as they are; ConditionError for other kinds, and for a strength whose α was not trained."""
        weights = super().translate(condition, objectives)
        least, most = self.strength(self.highest), self.strength(self.lowest)
        if not least - _TOLERANCE <= weights.strength <= most * (1 + _TOLERANCE):
            raise ConditionError(
                f"strength {weights.strength:g} is outside the levels of KL that this policy was trained on; "
                f"ask for a strength from {least:.3g} to {most:.3g} (α from {self.highest:g} down to {self.lowest:g})"
            )
        return weights

    def amounts(self, weights: Weights, objectives: Sequence[Objective]) -> NDArray[np.float64]:
        """[(1 − α) w_1, .., (1 − α) w_K, α]."""
        level = self.level(weights.strength)
        return np.append((1 - level) * vector(replace(weights, strength=1.0), objectives), level)

    def coefficients(self, conditions: Sequence[Condition | None], objectives: Sequence[Objective]) -> Tensor:
        """[R, K + 3]; the shared share is 1, whatever the strength."""
        rows = super().coefficients(conditions, objectives)
        for row, condition in zip(rows, conditions, strict=True):
            row[-2] = 0.0 if condition is None else 1.0
        return rows

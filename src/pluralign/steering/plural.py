"""Plural steering: the condition enters the parameters (CMPO's heads, CLP's attention or full layers).

λ weighs the changes of the objectives in every plural layer (`deltas.py`). With `where="head"` this is the plural
model of CMPO (Manyika 2024, eq. 3.1; methods.md A1): softmax(Σ_j λ_j h W_j), W_j = W_0 + ΔW_j.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from pluralign.errors import ConfigError
from pluralign.steering.weighted import WeightedSteering


@dataclass
class PluralSteering(WeightedSteering):
    """A change per objective in the chosen layers, mixed by the asked weights.

    `base_share`: "one" keeps W_0 whole (λ = 0 is the base, weights outside the simplex are usable); "sum" is the
    literal (Σλ) W_0 + Σ λ_j ΔW_j of the thesis. The two agree where Σλ = 1.
    """

    kind: ClassVar[str] = "plural"

    base_share: Literal["one", "sum"] = "one"
    """share of the base matrix: one, or the sum of the weights (literal CMPO)"""

    def __post_init__(self) -> None:
        if self.base_share not in ("one", "sum"):
            raise ConfigError(f"base_share is 'one' or 'sum', got {self.base_share!r}")

    def base_shares(self, totals: Tensor) -> Tensor:
        """One, or the sum of the weights."""
        return totals if self.base_share == "sum" else super().base_shares(totals)

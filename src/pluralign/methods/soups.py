"""Rewarded soups: one expert per objective, their weights averaged as asked.

    θ_w = Σ_i w_i θ_i = θ_0 + Σ_i w_i ΔW_i,   w in the simplex

Source: Ramé et al. 2023, arXiv 2306.04488 (methods.md A4). 1. From one base train an expert for each objective alone.
2. Serve the average of their weights, w given at inference. Differs from the paper:
1. Experts are DPO models by default (or the regression on scores); the paper trains them by PPO on each reward.
2. With LoRA the products B_i A_i are averaged, which is exact; public code averages A and B apart, which is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pluralign.data.objective import Objective
from pluralign.methods.contract import Facts
from pluralign.methods.steps.experts import Experts
from pluralign.steering.plural import PluralSteering


@dataclass(frozen=True, kw_only=True)
class Soups(Experts):
    """Experts whose weights are averaged."""

    facts: ClassVar[Facts] = Facts(
        "arXiv 2306.04488", "ratings or comparisons per objective", "weights", "one per objective", "1"
    )

    steering: PluralSteering = field(default_factory=lambda: PluralSteering(where="attention"))
    """where the experts differ from the base: attention, all linear layers, or the head"""

    def new_steering(self, objectives: Sequence[Objective]) -> PluralSteering:
        """Plural layers, each objective's part trained alone."""
        return self.steering

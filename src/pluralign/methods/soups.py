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
from typing import ClassVar, Literal

from pluralign.data.objective import Objective
from pluralign.losses.dpo import CDPO, DPO
from pluralign.losses.regression import Regression
from pluralign.methods.contract import Facts, TrainingData
from pluralign.methods.experts import train_experts
from pluralign.methods.preparation import Preparation
from pluralign.policy import Policy
from pluralign.steering.plural import PluralSteering
from pluralign.training.optim import Optim
from pluralign.training.run import Run


@dataclass(frozen=True, kw_only=True)
class Soups:
    """Experts whose weights are averaged."""

    facts: ClassVar[Facts] = Facts(
        "arXiv 2306.04488", "ratings or comparisons per objective", "weights", "one per objective", "1"
    )

    loss: DPO | CDPO | Regression = field(default_factory=DPO)
    """of every expert: DPO (β = .1), cDPO, or the regression on scores"""
    optim: Optim = field(default_factory=lambda: Optim(steps=120, lr=3e-4, head_lr=3e-3))
    """of every expert (batch_size in pairs)"""
    steering: PluralSteering = field(default_factory=lambda: PluralSteering(where="attention"))
    """where the experts differ from the base: attention, all linear layers, or the head"""
    feedback: Literal["auto", "scores", "comparisons"] = "auto"
    """regression only: learn from scores, or from comparisons through a linear reward model"""
    kappa: float = 4.4
    """log-ratio in nats per standard deviation of a learnt reward (regression on comparisons only)"""

    def new_steering(self, objectives: Sequence[Objective]) -> PluralSteering:
        """Plural layers, each objective's part trained alone."""
        return self.steering

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """Step 1; step 2 is the steering's."""
        preparation = Preparation(self.feedback, kappa=self.kappa)
        return train_experts(policy, data, run, self.loss, self.optim, preparation)

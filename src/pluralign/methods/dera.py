"""DeRA: decoding-time realignment, one expert whose strength is chosen when it answers.

    π_s(v | prefix) ∝ π_0(v) (π_1(v) / π_0(v))^s           s = 0 the reference, s = 1 the expert, beyond it further

Source: Liu et al. 2024, arXiv 2402.02992 (methods.md A8): if π_1 is aligned at KL strength β, then s stands for β/s (at
the level of sequences; decoding token by token is its approximation). Asked as "helpful=1 @1.5". Differs from the
paper: the expert is a DPO model by default, a LoRA adapter on the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pluralign.data.objective import Objective, names
from pluralign.errors import ConfigError
from pluralign.losses.dpo import CDPO, DPO
from pluralign.losses.regression import Regression
from pluralign.methods.contract import Facts, TrainingData
from pluralign.methods.steps.experts import train_experts
from pluralign.methods.steps.preparation import Preparation
from pluralign.policy import Policy
from pluralign.steering.mixture import MixtureSteering
from pluralign.training.optim import Optim
from pluralign.training.run import Run


@dataclass(frozen=True, kw_only=True)
class Dera:
    """One objective at any strength."""

    facts: ClassVar[Facts] = Facts("arXiv 2402.02992", "comparisons or ratings of one objective", "strength", "1", "2")

    loss: DPO | CDPO | Regression = field(default_factory=DPO)
    """DPO (β = .1), cDPO, or the regression on scores"""
    optim: Optim = field(default_factory=lambda: Optim(steps=250, lr=3e-4, head_lr=3e-3))
    """the optimisation (batch_size in pairs)"""
    steering: MixtureSteering = field(default_factory=lambda: MixtureSteering(where="attention"))
    """where the expert differs from the reference"""

    def new_steering(self, objectives: Sequence[Objective]) -> MixtureSteering:
        """A mixture of the expert and its reference. Raises ConfigError for several objectives, or another divergence."""
        if len(objectives) != 1:
            raise ConfigError(
                f"dera aligns to one objective; choose with --objectives from {', '.join(names(objectives))}"
            )
        if self.steering.divergence != "reverse_kl":
            raise ConfigError("dera's path leads through the geometric mean; leave steering.divergence at reverse_kl")
        return self.steering

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """The expert."""
        return train_experts(policy, data, run, self.loss, self.optim, Preparation())

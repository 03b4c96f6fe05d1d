"""MOD: multi-objective decoding, one expert per objective, mixed in the logits at every token.

    π_w(v | prefix) ∝ Π_i π_i(v | prefix)^(w_i)           (reverse KL; for other divergences see steering/mixture.py)

Source: Shi et al. 2024, arXiv 2406.18853 (methods.md A7). 1. Train an expert for each objective from the same base.
2. At inference run them all and combine their next-token distributions. Differs from the paper:
1. Experts are DPO models by default (or the regression on scores); the paper also takes PPO models as they are.
2. An expert is a LoRA adapter of one model, not a model of its own: the same numbers, one base in memory.
3. Replies are drawn from the combination; the paper decodes greedily or by beam search.
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
from pluralign.steering.mixture import MixtureSteering
from pluralign.training.optim import Optim
from pluralign.training.run import Run


@dataclass(frozen=True, kw_only=True)
class Mod:
    """Experts that answer together."""

    facts: ClassVar[Facts] = Facts(
        "arXiv 2406.18853", "ratings or comparisons per objective", "weights", "one per objective", "one per weighted objective"
    )  # fmt: skip

    loss: DPO | CDPO | Regression = field(default_factory=DPO)
    """of every expert: DPO (β = .1), cDPO, or the regression on scores"""
    optim: Optim = field(default_factory=lambda: Optim(steps=120, lr=3e-4, head_lr=3e-3))
    """of every expert (batch_size in pairs)"""
    steering: MixtureSteering = field(default_factory=lambda: MixtureSteering(where="attention"))
    """where the experts differ from the base, and the divergence that they were trained with"""
    feedback: Literal["auto", "scores", "comparisons"] = "auto"
    """regression only: learn from scores, or from comparisons through a linear reward model"""
    kappa: float = 4.4
    """log-ratio in nats per standard deviation of a learnt reward (regression on comparisons only)"""

    def new_steering(self, objectives: Sequence[Objective]) -> MixtureSteering:
        """A mixture."""
        return self.steering

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """Step 1; step 2 is the steering's."""
        preparation = Preparation(self.feedback, kappa=self.kappa)
        return train_experts(policy, data, run, self.loss, self.optim, preparation)

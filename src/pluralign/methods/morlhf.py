"""MORLHF: reinforcement learning on the weighted sum of rewards, one model per weight; the upper reference of a front.

    π_w = argmax_π E[ Σ_i w_i R_i(x, y) ] − β KL(π ‖ π_ref),   w fixed before training

Source: linear scalarisation as in the baselines of Ramé et al. 2023 (arXiv 2306.04488) and Yang et al. 2024
(arXiv 2402.10207, whose public code gives the defaults: PPO, lr 1e-5, β .2 towards a KL of 3; methods.md C4). 1. Standardise
every reward over replies of the reference. 2. For each weight train a model by RL on w·R. Differs from the paper:
1. The algorithm is PPO or RLOO, as the loss says (`scalarised.py`); PPO's value function is linear (`proximal.py`).
2. Models are LoRA adapters of one base, kept in one policy, which answers the trained weights only.
3. Rewards are not rounded to two decimals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pluralign.data.objective import Objective
from pluralign.methods.contract import Facts, TrainingData
from pluralign.methods.steps.fronts import equal_start, train_points, with_points
from pluralign.methods.steps.proximal import Proximal
from pluralign.methods.steps.scalarised import Scalarised
from pluralign.policy import Policy
from pluralign.steering.front import FrontSteering
from pluralign.training.run import Run


@dataclass(frozen=True, kw_only=True)
class Morlhf(Scalarised):
    """One model per weight, by RL."""

    facts: ClassVar[Facts] = Facts(
        "arXiv 2306.04488", "a scorer of every objective", "weights (trained ones)", "one per weight", "1"
    )

    proximal: Proximal = field(default_factory=lambda: Proximal(kl_target=3.0))
    """passes, GAE and adaptive KL (PPO only; public code: target 3)"""
    steering: FrontSteering = field(default_factory=lambda: FrontSteering(where="attention", rank=64))
    """the weights that get a model, and where it differs from the base"""

    def new_steering(self, objectives: Sequence[Objective]) -> FrontSteering:
        """A front of the asked points."""
        return with_points(self.steering, objectives)

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """Step 1, the scale of rewards; step 2, a model for every point."""
        start = equal_start(policy)
        scale = self.sampling.scale(policy, data, data.judge("morlhf"), run)
        return train_points(policy, start, lambda asked, name: self.fit_weights(policy, data, run, scale, asked, name))

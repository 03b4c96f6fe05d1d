"""PPO: proximal policy optimisation of one reward, or of one fixed weighting of several, with a KL to the reference.

    L = − Σ_t min( u_t A_t, clip(u_t, 1 ± ε) A_t )                                                       (losses/ppo.py)
    r_t = −β ρ_t (+ R at the last token),   A = GAE(γ, λ)                                        (methods/steps/proximal.py)

Source: Schulman et al. 2017, arXiv 1707.06347; for language models Ziegler et al. 2019, arXiv 1909.08593 (methods.md C3).
1. Draw replies. 2. Score them; reward their tokens. 3. Values and advantages. 4. Several passes of clipped steps. Repeat,
with a KL strength that adapts. Differs from the paper: the value function is linear in the frozen reference's states and
fitted to every rollout (`token_values.py`); rewards are standardised over replies of the reference; LoRA.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from pluralign.data.condition import Weights, parse, vector
from pluralign.data.objective import Objective
from pluralign.errors import ConfigError
from pluralign.losses.ppo import PPO
from pluralign.methods.contract import Facts, TrainingData
from pluralign.methods.steps.fronts import with_points
from pluralign.methods.steps.scalarised import Scalarised
from pluralign.policy import Policy
from pluralign.steering.front import FrontSteering
from pluralign.training.run import Run


@dataclass(frozen=True, kw_only=True)
class Ppo(Scalarised):
    """One model for one weighting."""

    facts: ClassVar[Facts] = Facts("arXiv 1707.06347", "a scorer of every objective", "one fixed weighting", "1", "1")

    weights: str = ""
    """what to optimise, as in helpful=.7,brief=.3; none weighs all objectives evenly"""
    loss: PPO = field(default_factory=PPO)
    """the clip (paper .2)"""
    steering: FrontSteering = field(default_factory=lambda: FrontSteering(where="attention", rank=64))
    """where the model differs from the base; its one point is `weights`"""

    def new_steering(self, objectives: Sequence[Objective]) -> FrontSteering:
        """A front of one point. Raises ConfigError for points, or weights that are none; ConditionError for unknown names."""
        if self.steering.points:
            raise ConfigError("ppo trains one model: give --weights, and leave steering.points alone (or train morlhf)")
        if not self.weights:
            return with_points(replace(self.steering, points=(tuple(np.full(len(objectives), 1 / len(objectives))),)), objectives)  # fmt: skip
        asked = parse(self.weights)
        if not isinstance(asked, Weights) or asked.strength != 1.0:
            raise ConfigError(
                f"weights are written as 'helpful=0.7,brief=0.3', without a strength; got {self.weights!r}"
            )
        return with_points(replace(self.steering, points=(tuple(vector(asked, objectives)),)), objectives)

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """Scale the rewards, then draw, score and improve until the steps are done."""
        scale = self.sampling.scale(policy, data, data.judge("ppo"), run)
        assert isinstance(policy.steering, FrontSteering), "the method's own steering"
        self.fit_weights(policy, data, run, scale, policy.steering.trained(data.objectives)[0], "ppo")
        return policy

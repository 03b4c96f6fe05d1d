"""RLOO: one policy for one reward (or one fixed trade-off), by policy gradient on k replies a prompt.

    G(y) = w·R(x, y) − β ρ(y),    ∇J = E[(G(y_i) − 1/(k−1) Σ_{j≠i} G(y_j)) ∇ log π(y_i|x)]

Source: Ahmadian et al. 2024, arXiv 2402.14740 (methods.md C1, C2): the KL is inside the return, the baseline of a reply
is the mean return of the prompt's other replies, a whole reply is one action. Differs from the paper:
1. LoRA on attention instead of full training (`steering.shared_where` none trains everything).
2. w may weigh several objectives, each standardised on replies of the reference: one MORLHF run without a value model.
3. `sampling.baseline` batch or running is plain REINFORCE.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from pluralign.data.condition import Weights, one_hot, parse, vector
from pluralign.data.objective import Objective, names
from pluralign.data.record import Record
from pluralign.errors import ConfigError
from pluralign.losses.policy_gradient import PolicyGradient
from pluralign.methods.contract import Facts, TrainingData
from pluralign.methods.steps.online import Advantages, Array, Sampling, rollouts, view_of_returns, weighed
from pluralign.policy import Policy
from pluralign.steering.none import NoSteering
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run


@dataclass(frozen=True, kw_only=True)
class Rloo:
    """One model for one reward."""

    facts: ClassVar[Facts] = Facts("arXiv 2402.14740", "a scorer of replies", "nothing", "1", "1")

    objective: str = ""
    """what to maximise: an objective, or fixed weights 'helpful=.7,brief=.3'; may stay empty where there is only one"""
    beta: float = 0.05
    """β, the weight of the KL to the reference in nats (usual .01 to .1)"""
    sampling: Sampling = field(default_factory=Sampling)
    """replies of a step (the paper: k = 2 to 4), baseline, units of the rewards"""
    optim: Optim = field(default_factory=lambda: Optim(steps=500, lr=1e-5))
    """the optimisation"""
    steering: NoSteering = field(default_factory=NoSteering)
    """the adapter that is trained"""
    checkpoint_every: int = 25
    """steps between checkpoints"""

    def new_steering(self, objectives: Sequence[Objective]) -> NoSteering:
        """No steering."""
        return self.steering

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """Answer, score, take off the baseline, climb."""
        weights = self._weights(data.objectives)
        if not 0 <= self.beta < float("inf"):
            raise ConfigError(f"beta must be a finite number from 0, got {self.beta}")
        policy.keep_reference()  # where all weights are trained
        scorer, stage = data.judge("rloo"), run.stage("rloo")
        scale = self.sampling.scale(policy, data, scorer, run)

        def worth(record: Record, rewards: Array, rho: Array) -> Array:
            return np.asarray(weighed(weights, rewards) - self.beta * rho)

        advantages = Advantages(self.sampling.baseline, rollouts(stage))
        view = view_of_returns(policy, data.objectives, scale, worth, advantages)
        source = self.sampling.source(policy, data, scorer, stage, lambda rng: None, view)
        fit(policy, source, PolicyGradient(), stage, self.optim, checkpoint_every=self.checkpoint_every)
        return policy

    def _weights(self, objectives: Sequence[Objective]) -> Array:
        """Of the objectives [K]; ConfigError (ConditionError) for what names none."""
        text = self.objective or (objectives[0].name if len(objectives) == 1 else "")
        asked = one_hot(text) if text in names(objectives) else parse(text) if text else None
        if not isinstance(asked, Weights):
            raise ConfigError(
                f"rloo maximises one objective or fixed weights; give --objective, one of {', '.join(names(objectives))} "
                "or 'a=.7,b=.3'"
            )
        return np.asarray(vector(asked, objectives))

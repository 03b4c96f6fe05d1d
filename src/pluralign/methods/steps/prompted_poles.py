"""Prompted poles: one policy that reads which ends are asked for, by policy gradient on the mean of their rewards.

    G(y) = 1/|C| Σ_{c ∈ C} ± R_c(x, y) − β ρ(y),    C drawn anew for every prompt: its size first, then the poles

Prompted multi-objective RL, the baseline of personalised soups (arXiv 2310.11564; methods.md A5); paper: PPO.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pluralign.data.condition import Condition, Weights, from_vector, vector
from pluralign.data.objective import Objective
from pluralign.data.record import Record
from pluralign.losses.policy_gradient import PolicyGradient
from pluralign.methods.contract import TrainingData
from pluralign.methods.steps.online import Advantages, Array, Sampling, rollouts, view_of_returns, weighed
from pluralign.policy import Policy
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run


def train_prompted(
    policy: Policy, data: TrainingData, run: Run, sampling: Sampling, beta: float, optim: Optim
) -> Policy:
    """Train the policy in place, under poles drawn for each prompt; ConfigError without a scorer."""
    policy.keep_reference()  # where all weights are trained
    scorer = data.judge("psoups")
    scale, stage = sampling.scale(policy, data, scorer, run), run.stage("prompted")
    lowest = [-1.0 if not each.safety or policy.bounds.allow_extrapolation else 0.0 for each in data.objectives]

    def ask(rng: np.random.Generator) -> Condition:
        return drawn_poles(rng, data.objectives, lowest)

    def worth(record: Record, rewards: Array, rho: Array) -> Array:
        asked = record.responses[0].condition
        assert isinstance(asked, Weights)
        return np.asarray(weighed(vector(asked, data.objectives), rewards) - beta * rho)

    view = view_of_returns(policy, data.objectives, scale, worth, Advantages(sampling.baseline, rollouts(stage)))
    fit(policy, sampling.source(policy, data, scorer, stage, ask, view), PolicyGradient(), stage, optim)
    return policy


def drawn_poles(rng: np.random.Generator, objectives: Sequence[Objective], lowest: Sequence[float]) -> Weights:
    """C in equal shares: from one to all objectives, each end alike; only the high one where `lowest` is 0."""
    size = int(rng.integers(1, len(objectives) + 1))
    signs = np.zeros(len(objectives))
    for place in rng.permutation(len(objectives))[:size]:
        signs[place] = -1.0 if rng.random() < 0.5 and lowest[place] < 0 else 1.0
    return from_vector(signs / size, objectives)

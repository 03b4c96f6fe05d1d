"""MaxMin-RLHF: the policy whose worst-off group is best off, one model for all.

    max_π min_k E_π[r_k] − β KL(π ‖ π_ref)   =   min_{α ∈ Δ} V*(α)                                (minimax; V* is convex)
    worst            A from r_j − β ρ,  j = argmin_k r̂_k                         r̂_k the mean over the step's replies
    multiplicative   A from α·r − β ρ,  α_k ∝ α_k exp(−η r̂_k)                    (Hedge: α finds the worst mixture)

A group is an objective: of a scorer with one reward model per group of people, or simply of objectives none of which may
be neglected. Or groups are found (`groups`), by EM over the raters (data/preference_groups.py, user_groups.py):
    E   rater u to  argmax_k Π_{pairs of u} σ(r_k(y⁺) − r_k(y⁻))       M   r_k by Bradley-Terry on the pairs of its raters

Source: Chakraborty et al. 2024, arXiv 2402.08925 (methods.md C7). 1. Rewards of the groups, each with mean 0 on the
reference. 2. Draw and score replies. 3. A policy step for whoever is worst off. Differs from the paper:
1. In EM rewards are linear on the base's states, which makes the M step exact; reward models learn from what it found.
2. These share a trunk and have a head each; the paper has a model for each group.
3. Rewards also have standard deviation 1 on the reference; advantages are RLOO's.
4. `multiplicative` is not in the paper: a mixture changes more slowly than the worst of a small sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from pluralign.data.group import Group
from pluralign.data.objective import Objective, names
from pluralign.data.preference_groups import Assignment
from pluralign.data.record import Record
from pluralign.errors import ConfigError
from pluralign.losses.policy_gradient import PolicyGradient
from pluralign.methods.contract import Facts, TrainingData
from pluralign.methods.steps.online import (
    Advantages,
    Array,
    Sampling,
    column_means,
    rewards,
    rollouts,
    weighed,
    weighted_groups,
)
from pluralign.methods.steps.rewarding import RewardTraining
from pluralign.methods.steps.user_groups import by_users
from pluralign.policy import Policy
from pluralign.sampling.on_policy import log_ratios
from pluralign.steering.none import NoSteering
from pluralign.storage import read_json, write_json
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run


@dataclass(frozen=True, kw_only=True)
class Maxmin:
    """One model, fair to all groups."""

    facts: ClassVar[Facts] = Facts(
        "arXiv 2402.08925", "a scorer of every group, or raters who prefer", "nothing", "1", "1"
    )

    update: Literal["worst", "multiplicative"] = "worst"
    """who a step is for: the group with the lowest mean reward (paper), or a mixture that follows the means"""
    eta: float = 0.1
    """η, how fast the mixture follows (multiplicative only)"""
    groups: int | None = None
    """groups of raters to find in the training data; none takes each objective for a group, which the scorer judges"""
    assignment: Assignment = "hard"
    """a rater belongs to one group, or to each in part while groups are looked for (with groups)"""
    reward: RewardTraining = field(default_factory=lambda: RewardTraining(kind="bt"))
    """how the reward models of the groups are trained (with groups)"""
    beta: float = 0.1
    """KL strength in standard deviations of reward per nat"""
    loss: PolicyGradient = field(default_factory=PolicyGradient)
    """−A log π"""
    sampling: Sampling = field(default_factory=Sampling)
    """what a step draws, and the baseline of its returns"""
    optim: Optim = field(default_factory=lambda: Optim(steps=1000, lr=1e-5, warmup=0, schedule="constant"))
    """a step for each rollout (batch_size is the rollout's)"""
    steering: NoSteering = field(default_factory=NoSteering)
    """the adapter that is trained"""

    def __post_init__(self) -> None:
        if self.update not in ("worst", "multiplicative"):
            raise ConfigError(f"update is worst or multiplicative, got {self.update!r}")
        if not (0 < self.eta < float("inf") and 0 <= self.beta < float("inf")):
            raise ConfigError(f"eta is above 0 and beta 0 or more, got {self.eta} and {self.beta}")
        if self.groups is None and (self.assignment, self.reward) != ("hard", RewardTraining(kind="bt")):
            raise ConfigError("assignment and reward are about groups to find: say how many, or leave them alone")
        if self.groups is not None and (self.groups < 1 or self.assignment not in ("hard", "soft")):
            raise ConfigError(
                f"groups is 1 or more and assignment hard or soft, got {self.groups}, {self.assignment!r}"
            )
        if self.update == "worst" and self.eta != type(self).eta:
            raise ConfigError("eta is about update=multiplicative; leave it alone with worst")

    def new_steering(self, objectives: Sequence[Objective]) -> NoSteering:
        """No steering."""
        return self.steering

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """Step 1, then 2 and 3 until the optimiser's steps are done."""
        if self.groups is not None:
            data = by_users(policy, data, run, self.groups, self.assignment, self.reward)
        scorer = data.judge("maxmin")
        scale, stage = self.sampling.scale(policy, data, scorer, run), run.stage("maxmin")
        advantages = Advantages(self.sampling.baseline, rollouts(stage))

        def view(records: Sequence[Record], step: int) -> list[Group]:
            scaled = [scale(each) for each in rewards(records, data.objectives)]
            shares = self._shares(scaled, step, rollouts(stage))
            told = zip(scaled, log_ratios(policy, records), strict=True)
            returns = [weighed(shares, each) - self.beta * np.array(rho) for each, rho in told]
            return weighted_groups(records, advantages(returns, step))

        fit(
            policy,
            self.sampling.source(policy, data, scorer, stage, lambda rng: None, view),
            self.loss,
            stage,
            self.optim,
        )
        last = read_json(_path(rollouts(stage), self.optim.steps - 1))["shares"]
        policy.lineage["shares"] = dict(zip(names(data.objectives), last, strict=True))
        return policy

    def _shares(self, scaled: Sequence[Array], step: int, folder: Path) -> Array:
        """How much each group counts in a step [K]; kept, so that a run can go on."""
        means = column_means(scaled)
        if self.update == "worst":
            shares = np.eye(len(means))[np.nanargmin(means)]
        else:
            before = read_json(_path(folder, step - 1))["shares"] if step else np.full(len(means), 1 / len(means))
            shares = multiplicative(np.array(before), means, self.eta)
        write_json(_path(folder, step), {"shares": shares.tolist(), "means": means.tolist()})
        return shares


def multiplicative(shares: Array, means: Array, eta: float) -> Array:
    """α_k ∝ α_k exp(−η r̂_k), [K]: who is worse off counts more."""
    logs = np.log(np.maximum(shares, 1e-12)) - eta * np.nan_to_num(means)
    found = np.exp(logs - logs.max())
    return np.asarray(found / found.sum())


def _path(folder: Path, step: int) -> Path:
    return folder / f"{step:06d}" / "shares.json"

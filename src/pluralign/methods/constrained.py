"""Constrained RLHF: every objective up to a level where it can be trusted, and no further from the reference than that.

    max_π min_μ  (N − Σ_i μ_i) E[−KL(π ‖ π_ref)] + Σ_i μ_i (E[R_i] − θ_i)                  N constraints
    A = (N − Σ_i μ_i) Â(−ρ) + Σ_i μ_i Â(R_i),   each Â normalised over the step
    m ← m − lr v,   v ← .1 v + μ'(m) (R̂ − θ),   μ = σ(m) (at_least) or tanh(m) (equal: may push back down)

`form=safe` is Safe RLHF: max E[R_k] − β KL with E[R_i] ≥ θ_i, A = (A(R_k − β ρ) + Σ μ_i A(R_i)) / (1 + Σ μ_i) and
ln μ ← ln μ − lr μ (R̂ − θ). Source: Moskovitz et al. 2023, arXiv 2310.04373; Dai et al. 2023, arXiv 2310.12773
(methods.md C6). 1. Draw and score replies. 2. Multipliers weigh their advantages; a step of the policy. 3. A step of the
multipliers: they fall while their constraint holds with slack. Differs from the papers:
1. Advantages are RLOO's (the prompt's other replies are the baseline), not PPO's with a value head per reward.
2. R̂ − θ is in standard deviations of the reference's rewards, so that a step of μ means the same for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from pluralign.data.condition import Targets, parse
from pluralign.data.evidence import direction_signs
from pluralign.data.group import Group
from pluralign.data.objective import Objective, known, names
from pluralign.data.record import Record
from pluralign.errors import ConfigError
from pluralign.losses.policy_gradient import PolicyGradient
from pluralign.methods.contract import Facts, TrainingData
from pluralign.methods.steps.multipliers import Form, Multipliers, mixed
from pluralign.methods.steps.online import (
    Array,
    Sampling,
    Scale,
    column_means,
    leave_one_out,
    normalised,
    rewards,
    rollouts,
    weighted_groups,
)
from pluralign.policy import Policy
from pluralign.sampling.on_policy import log_ratios
from pluralign.steering.none import NoSteering
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run

DEFAULT_LEVEL = 0.5


@dataclass(frozen=True, kw_only=True)
class Constrained:
    """One model that keeps its constraints."""

    facts: ClassVar[Facts] = Facts("arXiv 2310.04373", "a scorer of every objective", "nothing", "1", "1")

    thresholds: str = ""
    """θ, as in helpful:2.5,warm:2, in the scorer's units; none: every objective, .5 standard deviations above the reference"""
    form: Form = "at_least"
    """at_least: μ = σ(m); equal: μ = tanh(m); safe: the best of one objective where the others keep their levels"""
    maximise: str = ""
    """the objective to get the most of (safe only)"""
    beta: float = 0.1
    """KL strength in standard deviations of reward per nat (safe only; elsewhere the constraints are the strength)"""
    multiplier_lr: float = 1e-2
    """step size of m, or of ln μ (paper 1e-2)"""
    momentum: float = 0.1
    """of m (paper .1; not in safe)"""
    loss: PolicyGradient = field(default_factory=PolicyGradient)
    """−A log π"""
    sampling: Sampling = field(default_factory=Sampling)
    """what a step draws; its baseline is rloo"""
    optim: Optim = field(default_factory=lambda: Optim(steps=1000, lr=1e-5, warmup=0, schedule="constant"))
    """a step for each rollout (batch_size is the rollout's)"""
    steering: NoSteering = field(default_factory=NoSteering)
    """the adapter that is trained"""

    def __post_init__(self) -> None:
        if self.form not in ("at_least", "equal", "safe"):
            raise ConfigError(f"form is at_least, equal or safe, got {self.form!r}")
        if bool(self.maximise) != (self.form == "safe"):
            raise ConfigError("form=safe maximises one objective: give --maximise with it, and with it alone")
        if not (0 < self.multiplier_lr < float("inf") and 0 <= self.momentum < 1 and 0 <= self.beta < float("inf")):
            raise ConfigError("multiplier_lr is above 0, momentum in [0, 1), beta 0 or more")
        if self.sampling.baseline != "rloo":
            raise ConfigError("constrained has the baseline rloo; leave sampling.baseline alone")

    def new_steering(self, objectives: Sequence[Objective]) -> NoSteering:
        """No steering. Raises ConfigError, ConditionError for thresholds that are none, or of unknown objectives."""
        known([self.maximise] if self.maximise else [], objectives)
        self.levels(objectives, Scale((0.0,) * len(objectives), (1.0,) * len(objectives)))
        return self.steering

    def levels(self, objectives: Sequence[Objective], scale: Scale) -> Array:
        """θ [K] in standard deviations of the reference; NaN where there is no constraint."""
        if not self.thresholds:
            return np.array([np.nan if name == self.maximise else DEFAULT_LEVEL for name in names(objectives)])
        asked = parse(self.thresholds)
        if not isinstance(asked, Targets):
            raise ConfigError(f"thresholds are written as 'helpful:2.5,warm:2', got {self.thresholds!r}")
        known(asked.values, objectives)
        if self.maximise in asked.values:
            raise ConfigError(f"{self.maximise} is maximised and has a threshold; choose one")
        raw = np.array([asked.values.get(name, np.nan) for name in names(objectives)])
        return np.asarray(scale(raw * direction_signs(objectives)))

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """Steps 1 to 3, until the optimiser's steps are done."""
        scorer = data.judge("constrained")
        scale = self.sampling.scale(policy, data, scorer, run)
        stage, level = run.stage("constrained"), self.levels(data.objectives, scale)
        bound = np.flatnonzero(~np.isnan(level))
        kept = Multipliers(self.form, len(bound), self.multiplier_lr, self.momentum, rollouts(stage))
        free = names(data.objectives).index(self.maximise) if self.maximise else None

        def view(records: Sequence[Record], step: int) -> list[Group]:
            scaled = [scale(each) for each in rewards(records, data.objectives)]
            others = [_advantages([each[:, k] for each in scaled]) for k in bound]
            near = [-np.array(each) for each in log_ratios(policy, records)]
            if free is not None:
                near = [each[:, free] + self.beta * d for each, d in zip(scaled, near, strict=True)]
            found = mixed(self.form, _advantages(near), others, kept(step))
            kept.move(step, column_means(scaled)[bound] - level[bound])
            return weighted_groups(records, found)

        fit(
            policy,
            self.sampling.source(policy, data, scorer, stage, lambda rng: None, view),
            self.loss,
            stage,
            self.optim,
        )
        final = zip(bound, kept(self.optim.steps), strict=True)
        policy.lineage["multipliers"] = {data.objectives[k].name: float(mu) for k, mu in final}
        return policy


def _advantages(values: Sequence[Array]) -> list[Array]:
    return normalised([leave_one_out(each) for each in values])

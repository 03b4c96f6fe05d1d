"""Personalised soups: one policy for each end of every objective; the ends that a person chooses are merged.

    θ_C = θ_0 + 1/|C| Σ_{c ∈ C} ΔW_c,     c a pole: an objective's high or low end, at most one of each objective

Source: Jang et al. 2023, arXiv 2310.11564 (methods.md A5). 1. For each pole train a policy from the same base on that
pole's preferences. 2. Average the parameters of the chosen poles. A weight below 0 asks for the low end
(steering/poles.py). Differs from the paper:
1. The low pole's preferences are the high pole's turned round; the paper has a judge label them for each pole.
2. Experts learn from pairs by DPO, or from replies by RLOO (`expert` replies); the paper: PPO on a reward model per pole.
3. An objective of safety has no low pole, unless the policy's bounds allow extrapolation.
4. LoRA products are merged exactly, as the paper's average of parameters is; `steering.average` factors averages A and B
   apart, as its public code does (steering/averaged.py).
5. `steering.merge` weighted gives poles their weights instead of equal shares.
6. Its baseline P-MORL, one policy that reads the chosen poles, is `steering` PromptPoles (prompted_poles.py; RLOO, not PPO).
7. Replies that are marked as corrupted are bad at both ends (data/conversions/turned.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np

from pluralign.data.condition import Bounds, Weights
from pluralign.data.conversions.turned import turned
from pluralign.data.group import Group
from pluralign.data.objective import Objective
from pluralign.data.record import Record
from pluralign.errors import ConfigError, DataError
from pluralign.losses.dpo import CDPO, DPO
from pluralign.losses.policy_gradient import PolicyGradient
from pluralign.losses.regression import Regression
from pluralign.methods.contract import Facts, TrainingData, validation_groups
from pluralign.methods.steps.experts import Expert, pairs_of, train_apart
from pluralign.methods.steps.online import Advantages, Array, Sampling, rollouts, view_of_returns
from pluralign.methods.steps.preparation import Preparation
from pluralign.methods.steps.prompted_poles import train_prompted
from pluralign.policy import Policy
from pluralign.steering.poles import PolesSteering
from pluralign.steering.prompt.poles import PromptPoles
from pluralign.training.optim import Optim
from pluralign.training.run import Run
from pluralign.training.source import GroupSource


@dataclass(frozen=True, kw_only=True)
class Psoups:
    """Experts for both ends of every objective, merged as chosen."""

    facts: ClassVar[Facts] = Facts(
        "arXiv 2310.11564", "ratings, comparisons or a scorer", "weights, signed", "two per objective", "1"
    )

    expert: Literal["pairs", "replies"] = "pairs"
    """how a pole's policy learns: pairs of the data by `loss`, or replies of its own, which the scorer judges, by RLOO"""
    loss: DPO | CDPO | Regression = field(default_factory=DPO)
    """of pairs: DPO (β = .1), cDPO, or the regression on scores (expert pairs)"""
    pairs: Literal["all", "widest"] = "all"
    """pairs of an end: all that it tells apart, or the widest of each record alone (expert pairs)"""
    beta: float = 0.05
    """the weight of the KL to the reference (expert replies)"""
    sampling: Sampling = field(default_factory=Sampling)
    """replies of a step, baseline, units of the rewards (expert replies)"""
    optim: Optim = field(default_factory=lambda: Optim(steps=120, lr=3e-4, head_lr=3e-3))
    """of every expert (batch_size in pairs)"""
    steering: PolesSteering | PromptPoles = field(default_factory=lambda: PolesSteering(where="attention"))
    """where the experts differ from the base, and how they are merged; or the poles in the prompt of one policy"""

    def new_steering(self, objectives: Sequence[Objective]) -> PolesSteering | PromptPoles:
        """Two changes per objective, or words for them."""
        return self.steering

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """Step 1, an expert for each pole; step 2 is the steering's."""
        self._check()
        if policy.bounds == Bounds():
            ends = {o.name: (-1.0, 1.0) for o in data.objectives if not o.safety}
            policy.bounds = Bounds(ends, simplex=False)
        if isinstance(self.steering, PromptPoles):
            return train_prompted(policy, data, run, self.sampling, self.beta, self.optim)
        experts = self._from_pairs if self.expert == "pairs" else self._from_replies
        return train_apart(policy, experts(policy, data, run), self.optim, run)

    def _from_pairs(self, policy: Policy, data: TrainingData, run: Run) -> Iterator[Expert]:
        """A pole's pairs: those that the objective tells apart, turned round for its low end."""
        loss, (records, objectives) = self._prepared(policy, data, run.seed)
        for place, objective, label, sign in _poles(policy, objectives):
            told = records if sign > 0 else [turned(record, objective) for record in records]
            train, held_out = (
                [_asked(pair, objective.name, sign) for pair in pairs_of(part, objective, self.pairs)]
                for part in (told[: len(data.train)], told[len(data.train) :])
            )
            if not train:
                raise DataError(f"no pair of replies differs on {objective.name!r}; check its scores or comparisons")
            source = GroupSource(train, self.optim.batch_size, run.seed)
            yield Expert(label, place, source, loss, validation_groups(held_out))

    def _prepared(
        self, policy: Policy, data: TrainingData, seed: int
    ) -> tuple[DPO | CDPO | Regression, tuple[Sequence[Record], Sequence[Objective]]]:
        if not isinstance(self.loss, Regression):
            return self.loss, ([*data.train, *data.validation], data.objectives)
        loss, records, objectives = Preparation().regression(self.loss, policy, data, seed)
        return loss, (records, objectives)

    def _from_replies(self, policy: Policy, data: TrainingData, run: Run) -> Iterator[Expert]:
        """A pole's reward: the objective's, turned round for its low end."""
        scorer = data.judge("psoups")
        scale = self.sampling.scale(policy, data, scorer, run)
        for place, objective, label, sign in _poles(policy, data.objectives):
            stage = run.stage(f"expert-{label}")

            def worth(
                record: Record, rewards: Array, rho: Array, column: int = place // 2, sign: float = sign
            ) -> Array:
                return np.asarray(sign * rewards[:, column] - self.beta * rho)

            asked = Weights({objective.name: sign})
            advantages = Advantages(self.sampling.baseline, rollouts(stage))
            view = view_of_returns(policy, data.objectives, scale, worth, advantages)
            source = self.sampling.source(policy, data, scorer, stage, lambda rng, asked=asked: asked, view)  # type: ignore[misc]
            yield Expert(label, place, source, PolicyGradient())

    def _check(self) -> None:
        """Every setting acts or raises (ConfigError)."""
        if not 0 <= self.beta < float("inf"):
            raise ConfigError(f"beta must be a finite number from 0, got {self.beta}")
        if self.expert == "pairs" and isinstance(self.steering, PromptPoles):
            raise ConfigError("poles in the prompt are learnt from replies: set expert to replies, and give a scorer")
        if self.expert == "pairs" and (self.beta, self.sampling) != (0.05, Sampling()):
            raise ConfigError(
                "beta and sampling are of experts that learn from replies; leave them alone, or set expert"
            )
        if self.expert == "replies" and self.loss != DPO():
            raise ConfigError("loss is of experts that learn from pairs; leave it alone, or set expert to pairs")


def _poles(policy: Policy, objectives: Sequence[Objective]) -> Iterator[tuple[int, Objective, str, float]]:
    """(place of its change, objective, name, sign) of every pole to train: the low end of safety only where it may be asked."""
    for place, objective in enumerate(objectives):
        yield 2 * place, objective, f"{objective.name}-high", 1.0
        if not objective.safety or policy.bounds.allow_extrapolation:
            yield 2 * place + 1, objective, f"{objective.name}-low", -1.0


def _asked(pair: Group, name: str, sign: float) -> Group:
    """A pair judged under one end of the objective."""
    return replace(pair, conditions=(Weights({name: sign}),))

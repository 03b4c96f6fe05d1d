"""CMPO: conditional multi-objective preference optimisation, one model for every trade-off.

    P(y_t | x, y_<t, λ) = softmax(Σ_j λ_j h_t W_j),   W_j = W_0 + ΔW_j                        (eq. 3.1)

trained on pairs judged under weights λ: with constrained DPO (eq. 3.3, losses/dpo.py), or with the relative-reward
regression δ_λ(y, y') = λ·(s(y) − s(y'))/τ (losses/regression.py).

Source: Manyika, "Conditional multiobjective preference optimization", MIT MEng thesis, 2024 (methods.md A1).
The recipe `thesis` is literal. The default differs from the thesis:
1. Pairs are judged under drawn weights by λ·Δscore ("trade_off"), several weights at once, so that one pair is seen in
   both orders; the thesis emits one weight per subset of objectives on which a reply is strictly better.
2. The loss is the regression, which keeps the size of a difference; cDPO learns its sign alone.
3. The trunk is frozen and ΔW_j has rank 16; the thesis trains full heads and LoRA on attention.
4. Where there are comparisons but no scores, a linear reward model on the frozen trunk turns them into scores.
5. Where ratings share a halo (mean correlation above .3), scores are made ipsative first.
6. With `rounds` the policy then answers under drawn weights, the scorer judges, and its replies join the data's.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np

from pluralign.data import simplex
from pluralign.data.condition import Condition, from_vector
from pluralign.data.conversions.judgements import Conversion, judgements
from pluralign.data.objective import Objective
from pluralign.data.record import Record
from pluralign.errors import ConfigError
from pluralign.losses.dpo import CDPO
from pluralign.losses.regression import Regression
from pluralign.methods.contract import Facts, TrainingData, validation_groups
from pluralign.methods.steps.plural_start import plural_start
from pluralign.methods.steps.preparation import Preparation
from pluralign.methods.steps.rounds import OFFLINE, JoinedRounds
from pluralign.policy import Policy
from pluralign.steering.plural import PluralSteering
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run, Stage
from pluralign.training.source import GroupSource, Source
from pluralign.training.tradeoff import TradeOffSource

log = logging.getLogger("pluralign")


@dataclass(frozen=True, kw_only=True)
class Cmpo:
    """One model that obeys any weights."""

    facts: ClassVar[Facts] = Facts(
        "Manyika 2024 (MIT thesis)", "ratings or comparisons per objective", "weights", "1", "1"
    )

    conversion: Conversion = "trade_off"
    """how feedback becomes judged pairs (thesis: power_set with the net-margin filter; its variants: ratio, a set's weights follow the scores, A.2; opposite or complement, negative weights, A.1, which only cDPO takes)"""
    loss: Regression | CDPO = field(default_factory=lambda: Regression(tau=0.2))
    """regression (τ = .2 in units of a 0..4 score, to which every range is scaled) or cDPO (thesis: β = .5, ε = .1)"""
    optim: Optim = field(default_factory=lambda: Optim(steps=300, lr=3e-4, head_lr=5e-3, weight_decay=0.5))
    """the optimisation (batch_size pairs, or for trade_off twice as many replies; thesis: constant lr 5e-6, weight decay 1e-2)"""
    steering: PluralSteering = field(default_factory=PluralSteering)
    """which layers are plural (thesis: full heads, LoRA on attention, base_share sum)"""
    plural_sft: int = 0
    """steps of supervised fine-tuning before, each reply under the objectives it exemplifies, so that heads differ (thesis: future work)"""
    weights_per_step: int = 4
    """weights under which every pair of a step is judged (trade_off only)"""
    responses_per_prompt: int = 8
    """replies of one prompt that a step compares with each other, all pairs (trade_off only)"""
    feedback: Literal["auto", "scores", "comparisons"] = "auto"
    """learn from scores, or from comparisons through a linear reward model; auto takes scores where all pairs have them"""
    kappa: float = 4.4
    """log-ratio in nats per standard deviation of a learnt reward (comparisons only; 1/τ of the regression)"""
    ipsative: Literal["auto", "always", "never"] = "auto"
    """take out what a reply's scores have in common; auto does so where they correlate above .3"""
    rounds: JoinedRounds = field(default_factory=JoinedRounds)
    """replies of the policy itself under drawn weights, judged by the scorer (trade_off only; thesis: none)"""
    checkpoint_every: int = 50
    """steps between checkpoints"""

    def new_steering(self, objectives: Sequence[Objective]) -> PluralSteering:
        """Plural layers."""
        return self.steering

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """Make scores comparable, judge pairs under weights, fit."""
        self._check()
        judge = data.judge("cmpo") if self.rounds.num else None
        plural_start(policy, data, run, self.optim, self.plural_sft)

        def ask(rng: np.random.Generator) -> Condition:
            return from_vector(simplex.draw(rng, 1, len(data.objectives))[0], data.objectives)

        def learn(pool: list[Record], stage: Stage) -> None:
            loss, records, objectives = self._prepared(policy, replace(data, train=pool), run.seed)
            offline = stage.name == OFFLINE
            source = self._source(records[: len(pool)], objectives, run.seed if offline else stage.seed)
            held_out = validation_groups(judgements(records[len(pool) :], objectives, self.conversion))
            optim = self.optim if offline else self.rounds.optim
            fit(policy, source, loss, stage, optim, held_out, checkpoint_every=self.checkpoint_every)

        self.rounds.run(policy, run, data.train, data.questions(), judge, ask, learn)
        return policy

    def _check(self) -> None:
        """Every setting acts or raises (ConfigError)."""
        if self._fixed and self.ipsative == "always":
            raise ConfigError(f"ipsative scores are made for trade_off only, not for {self.conversion}")
        if self.conversion in ("opposite", "complement") and isinstance(self.loss, Regression):
            raise ConfigError("negative weights leave margins unknown; train them with loss:cdpo")
        if self.rounds.num and (self._fixed or self.feedback == "comparisons"):
            raise ConfigError("rounds learn from scores of drawn trade-offs; leave --conversion and --feedback alone")
        if self.feedback != "auto" and not isinstance(self.loss, Regression):
            raise ConfigError(
                "cDPO takes scores and comparisons alike: leave --feedback at auto, or use the regression"
            )

    @property
    def _fixed(self) -> bool:
        return self.conversion != "trade_off"

    def _prepared(
        self, policy: Policy, data: TrainingData, seed: int
    ) -> tuple[Regression | CDPO, Sequence[Record], tuple[Objective, ...]]:
        """The loss, and train and validation records with scores in common units (cDPO needs none: it learns signs)."""
        prepare = Preparation(self.feedback, "never" if self._fixed else self.ipsative, self.kappa)
        if isinstance(self.loss, Regression):
            return prepare.regression(self.loss, policy, data, seed)
        log.info("cmpo: cDPO on %s pairs", self.conversion)
        return self.loss, *prepare.signs(data)

    def _source(self, records: Sequence[Record], objectives: tuple[Objective, ...], seed: int) -> Source:
        if self._fixed:
            return GroupSource(judgements(records, objectives, self.conversion), self.optim.batch_size, seed)
        ties = isinstance(self.loss, Regression)
        size, most = 2 * self.optim.batch_size, self.responses_per_prompt
        return TradeOffSource(records, objectives, seed, size, most, self.weights_per_step, ties)

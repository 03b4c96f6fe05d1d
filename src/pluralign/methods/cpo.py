"""CPO: controllable preference optimisation, some objectives held at a level, the others as good as can be.

    R(y; c) = Σ_{i in C} −λ_i |s_i − c_i| + Σ_{i not in C} ω_i s_i
    L = − log σ(β [ρ(y_w | c) − ρ(y_l | c)]),     R(y_w; c) > R(y_l; c),     c = "<helpfulness: 5> <honesty: 3>"

Source: Guo et al. 2024, arXiv 2402.19085 (methods.md A11). 1. CPSFT: imitate every reply under its own ratings.
2. CDPO: draw controlled objectives C and a wished c, and prefer by R. Differs from the paper:
1. C is any subset, drawn evenly by its size, and c the ratings of one of the prompt's replies on C (`target`); CPSFT
   states a drawn part of a reply's ratings too, so that it reads what CDPO writes. The public script's handling of
   honesty and of zeros is a slip of precedence; this is the formula.
2. Scores count in parts of their ranges, more is better outside C; a term that one of two replies lacks is left out.
3. ρ is measured against the base after the plain prompt, not against the CPSFT model.
4. LoRA on attention by default, and the embeddings; a share of CPSFT's replies has no condition, for guidance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np

from pluralign.data.conversions.controlled import Controlled, partly_rated
from pluralign.data.group import Group
from pluralign.data.objective import Objective
from pluralign.data.record import Record
from pluralign.errors import ConfigError, DataError
from pluralign.losses.dpo import CDPO, DPO
from pluralign.losses.sft import SFT
from pluralign.methods.contract import Facts, TrainingData, validation_groups
from pluralign.methods.steps.rated import check_share, learn_levels, partly_unasked, rated
from pluralign.policy import Policy
from pluralign.steering.prompt.levels import PromptLevels
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run
from pluralign.training.source import GroupSource


@dataclass(frozen=True, kw_only=True)
class Cpo:
    """One model that is asked for some levels, and does its best in the rest."""

    facts: ClassVar[Facts] = Facts("arXiv 2402.19085", "ratings per objective", "ratings, or weights", "1", "1")

    loss: DPO | CDPO = field(default_factory=DPO)
    """DPO (paper: β = .1) or cDPO"""
    sft_optim: Optim = field(default_factory=lambda: Optim(lr=2e-4, steps=500, batch_size=8))
    """of step 1 (batch_size in replies)"""
    optim: Optim = field(default_factory=lambda: Optim(lr=1e-4, steps=250, batch_size=16))
    """of step 2 (batch_size in prompts under one condition, all pairs of a prompt; paper: 3 epochs)"""
    conditions_per_prompt: int = 4
    """wished ratings that a prompt's replies are compared under"""
    target: Literal["drawn", "best"] = "drawn"
    """c: the ratings of one of the prompt's replies, or the best end of every controlled range"""
    controlled: float = 1.0
    """λ of every controlled objective (paper: 1)"""
    free: float = 1.0
    """ω of every other objective (paper: 1; 0 leaves it alone)"""
    unasked_share: float = 0.1
    """share of the replies that are imitated without ratings, for guidance (paper: 0)"""
    steering: PromptLevels = field(default_factory=lambda: PromptLevels(form="tags"))
    """how ratings are written, how weights become ratings, and which layers learn to read them"""

    def __post_init__(self) -> None:
        check_share(self.unasked_share)
        if self.conditions_per_prompt < 1:
            raise ConfigError(f"conditions_per_prompt must be at least 1, got {self.conditions_per_prompt}")
        if not (0 < self.controlled < float("inf") and 0 <= self.free < float("inf")):
            raise ConfigError(f"controlled must be above 0 and free from 0, got {self.controlled} and {self.free}")

    def new_steering(self, objectives: Sequence[Objective]) -> PromptLevels:
        """Ratings in the prompt."""
        return replace(self.steering)

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """CPSFT, then CDPO."""
        policy.keep_reference()
        learn_levels(policy, data.train)
        # 1: CPSFT
        stage = run.stage("cpsft")
        train = rated(policy, data.train)
        parts = [g for n, r in enumerate(train) for g in partly_rated(r, policy.objectives, [run.seed, 1, n])]
        groups = partly_unasked(parts, self.unasked_share, run.seed)
        fit(policy, GroupSource(groups, self.sft_optim.batch_size, run.seed), SFT(), stage, self.sft_optim)
        # 2: CDPO
        pairs = self._judged(train, policy.objectives, run.seed)
        if not pairs:
            raise DataError("no two replies of a prompt are rated differently; cpo compares replies of a prompt")
        held_out = self._judged(rated(policy, data.validation), policy.objectives, run.seed) if data.validation else []
        source = GroupSource(pairs, self.optim.batch_size, run.seed)
        fit(policy, source, self.loss, run.stage("cdpo"), self.optim, validation_groups(held_out))
        return policy

    def _judged(self, records: Sequence[Record], objectives: Sequence[Objective], seed: int) -> list[Group]:
        judging = Controlled(objectives, self.target, self.controlled, self.free)
        return [
            group
            for number, record in enumerate(records)
            for group in judging.pairs(record, np.random.default_rng([seed, 2, number]), self.conditions_per_prompt)
        ]

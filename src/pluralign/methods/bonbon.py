"""BoNBoN: what best-of-n would answer, trained into one model, for every trade-off.

    1. draw n replies y_1 .. y_n ~ π_ref(·|x) of each prompt, and let the scorer judge them
    2. L = − a log π_θ(y_best|x, λ) + (1 − a) [δ − (n−1) H_{n−1}]²,  δ = ρ(y_best) − ρ(y_worst)      (losses/bonbon.py)

Source: Gui, Gârbacea, Veitch 2024, arXiv 2406.00832 (methods.md A20; n = 8, a = .005). Differs from the paper:
1. It is steerable: best and worst are those of Σ_k λ_k s_k / σ_k, for weights λ drawn for each prompt, and a plural policy
   learns all of them at once. With one objective every weight is 1, and the method is the paper's.
2. σ_k is the deviation of an objective's scores over the pool, or the width of its range (`scale`).
3. Plural low-rank heads on a frozen trunk; the paper trains all weights.
4. `samples=data` takes the replies of the data for the n samples, which is right where the reference drew them.
5. Where replies are short the imitation needs more weight than a = .005 (recipe `lab`: .95), or δ is reached by making the
worst reply impossible while the best one grows no likelier.
A prompt with fewer than n judged replies is left out, and so is a weight under which all n score the same.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from pluralign.data import simplex
from pluralign.data.condition import from_vector
from pluralign.data.evidence import Array, direction_signs
from pluralign.data.group import Group, Preference
from pluralign.data.objective import Objective
from pluralign.data.record import Record
from pluralign.errors import ConfigError, DataError
from pluralign.losses.bonbon import BonBon
from pluralign.methods.contract import Facts, TrainingData, validation_groups
from pluralign.policy import Policy
from pluralign.sampling.local import Decoding
from pluralign.sampling.pool import rollout
from pluralign.sampling.spread import scores_of, spreads
from pluralign.steering.plural import PluralSteering
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run
from pluralign.training.source import GroupSource

log = logging.getLogger("pluralign")


@dataclass(frozen=True, kw_only=True)
class Bonbon:
    """Best-of-n in the weights."""

    facts: ClassVar[Facts] = Facts("arXiv 2406.00832", "a scorer of new replies, or ratings", "weights", "1", "1")

    loss: BonBon = field(default_factory=BonBon)
    """n replies of each prompt (8), and how best and worst are held apart"""
    samples: Literal["drawn", "data"] = "drawn"
    """the n replies of each prompt: drawn from the reference and judged by the scorer, or those of the data"""
    num_prompts: int | None = None
    """prompts to draw for, in turn, again from the first where there are fewer (none: each once; samples=drawn only)"""
    weights_per_prompt: int = 4
    """weights drawn for each prompt, under each of which one reply is best and one worst"""
    scale: Literal["spread", "range"] = "spread"
    """what a point of an objective is worth: the deviation of its scores over the pool, or its range"""
    decoding: Decoding = field(default_factory=Decoding)
    """how replies are drawn"""
    optim: Optim = field(default_factory=lambda: Optim(steps=300, lr=3e-4, head_lr=5e-3, weight_decay=0.5))
    """the optimisation (batch_size in pairs of best and worst)"""
    steering: PluralSteering = field(default_factory=PluralSteering)
    """which layers are plural"""

    def new_steering(self, objectives: Sequence[Objective]) -> PluralSteering:
        """Plural layers."""
        return self.steering

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """Steps 1 and 2."""
        self._check()
        pool = self._pool(policy, data, run)
        wide = [objective.high - objective.low for objective in data.objectives]
        unit = np.array(spreads(pool, data.objectives) if self.scale == "spread" else wide)
        groups = self._groups(pool, data.objectives, unit, run.seed)
        if not groups:
            raise DataError(
                f"no prompt has {self.loss.num} judged replies of which one is best; check the scorer, or lower loss.num"
            )
        held_out = self._groups(data.validation, data.objectives, unit, run.seed)
        source = GroupSource(groups, self.optim.batch_size, run.seed)
        fit(policy, source, self.loss, run.stage("bonbon"), self.optim, validation_groups(held_out))
        return policy

    def _check(self) -> None:
        """Every setting acts or raises (ConfigError)."""
        if self.weights_per_prompt < 1 or (self.num_prompts is not None and self.num_prompts < 1):
            raise ConfigError(
                f"weights_per_prompt and num_prompts are at least 1, got {self.weights_per_prompt}, {self.num_prompts}"
            )
        if self.samples == "data" and self.num_prompts is not None:
            raise ConfigError("num_prompts says for how many prompts to draw; with samples=data nothing is drawn")

    def _pool(self, policy: Policy, data: TrainingData, run: Run) -> Sequence[Record]:
        """Records with n replies each, without those of the data that nobody drew (`extra["corrupted"]`)."""
        if self.samples == "data":
            return data.train
        judge, asked = data.judge("bonbon"), data.questions()
        if not asked:
            raise DataError("there are no prompts to answer; give --prompts, or data with prompts")
        prompts = [asked[place % len(asked)] for place in range(self.num_prompts or len(asked))]
        how = (self.loss.num, run.seed, self.decoding)
        return rollout(run.stage("samples").folder, policy, prompts, [None] * len(prompts), judge, *how)

    def _groups(
        self, records: Sequence[Record], objectives: tuple[Objective, ...], unit: Array, seed: int
    ) -> list[Group]:
        """The best and the worst reply of a record under each of its weights, one preference to a group."""
        groups: list[Group] = []
        factor, num = direction_signs(objectives) / unit, self.loss.num
        for place, record in enumerate(records):
            usable = [r for r in record.responses if not r.extra.get("corrupted")][:num]
            scores = scores_of(Record(record.messages, tuple(usable)), objectives) * factor
            labelled = np.asarray(~np.isnan(scores).any(axis=0))
            if len(usable) < num or not labelled.any():
                continue
            rng = np.random.default_rng([seed, place])
            for row in simplex.draw(rng, self.weights_per_prompt, len(objectives), labelled):
                value = scores[:, row != 0] @ row[row != 0]
                best, worst = int(value.argmax()), int(value.argmin())
                if value[best] - value[worst] > 1e-9:
                    pair, asked = [usable[best], usable[worst]], (from_vector(row, objectives),)
                    groups.append(Group.of(record, pair, asked, (Preference(0, 0, 1),)))
        log.info("bonbon: %d pairs of best and worst from %d prompts", len(groups), len(records))
        return groups

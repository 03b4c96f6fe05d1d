"""DPA: directional preference alignment, one model that reads a direction in the space of rewards.

    y*(x, v) = argmax over n replies drawn from π(· | x, v) of vᵀ r(x, y)        ‖v‖₂ = 1
    L        = − log π_θ(y* | x, v) / |y*|

Source: H. Wang et al. 2024, arXiv 2402.18571 (methods.md A13): rejection-sampling fine-tuning. 1. Start by imitating,
under each drawn direction, the data's reply that is best in it. Then, in rounds: 2. draw a direction for every prompt,
3. answer under it, at several temperatures; 4. keep the best reply in its direction, 5. imitate it. Rewards are 0 to 100
over an objective's range (the paper: the heads of a regression model of that scale). Differs from the paper:
1. Directions are drawn without negative components, one-hots and subsets among them, unless `steering.axis` names the
   middle of the paper's cone (45 degrees about helpfulness); in more than two objectives the cone is a spherical cap.
2. How many replies are drawn is not known for sure (about 80); 16 here.
3. A share of the start's examples comes back in every round, since best-of-n shrinks diversity (A25).
4. The direction stands before the user's turn, and a share of the examples is unconditioned, for guidance.
5. A prompt's replies teach other directions than the one they were drawn under, too (`directions_per_prompt`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from pluralign.data.condition import vector
from pluralign.data.conversions import imitation
from pluralign.data.group import Group
from pluralign.data.objective import Objective
from pluralign.data.record import Record
from pluralign.errors import ConfigError, DataError
from pluralign.losses.sft import SFT
from pluralign.methods.contract import Facts, TrainingData, validation_groups
from pluralign.methods.steps.graded import best_in, graded, in_rounds
from pluralign.policy import Policy
from pluralign.sampling.local import Decoding
from pluralign.sampling.pool import rollout
from pluralign.steering.prompt.directions import PromptDirections
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run, Stage
from pluralign.training.source import GroupSource


@dataclass(frozen=True, kw_only=True)
class Dpa:
    """A direction in the prompt."""

    facts: ClassVar[Facts] = Facts("arXiv 2402.18571", "ratings per objective, and a scorer", "weights (a direction)", "1", "1")  # fmt: skip

    loss: SFT = field(default_factory=SFT)
    """token or sequence mean"""
    optim: Optim = field(default_factory=lambda: Optim(steps=2_000, batch_size=32, lr=1e-5))
    """of the start: imitating the data's best replies"""
    online: Optim = field(default_factory=lambda: Optim(steps=1_000, batch_size=32, lr=1e-5))
    """of each round"""
    rounds: int = 2
    """rounds of rejection sampling, 0 for the start alone"""
    samples: int = 8_000
    """prompts answered in a round, each under a direction of its own"""
    replies: int = 16
    """replies to each of them (paper: about 80)"""
    temperatures: tuple[float, ...] = (0.7, 1.0)
    """the replies are shared out among these"""
    directions_per_prompt: int = 4
    """directions in which the best of a prompt's replies is learnt: drawn at the start, in a round the one that was asked for, and drawn ones (paper: in a round that one alone)"""
    kept_share: float = 0.2
    """examples of the start that join a round's, as a share of the round's"""
    unasked: float = 0.1
    """share of the start's examples trained without a condition (paper: 0)"""
    decoding: Decoding = field(default_factory=Decoding)
    """how replies are drawn, but for the temperature"""
    steering: PromptDirections = field(default_factory=PromptDirections)
    """how a direction is written, and which there are"""

    def __post_init__(self) -> None:
        for name, least in (("rounds", 0), ("samples", 1), ("replies", 1), ("directions_per_prompt", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not self.temperatures or self.replies % len(self.temperatures):
            raise ConfigError(f"{self.replies} replies cannot be shared out among temperatures {self.temperatures}")
        if not self.kept_share >= 0 or not 0 <= self.unasked < 1:
            raise ConfigError(f"kept_share is from 0, unasked in [0, 1); got {self.kept_share} and {self.unasked}")

    def new_steering(self, objectives: Sequence[Objective]) -> PromptDirections:
        """A direction in the prompt."""
        return replace(self.steering)

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """The paper's procedure."""
        assert isinstance(policy.steering, PromptDirections), "the policy has this method's steering"
        if self.rounds:
            data.judge("dpa")  # before anything is trained
        policy.bounds = policy.steering.bounds(data.objectives)
        # 1. the data's best replies in drawn directions
        start = self._start(data.train, data, run.seed)
        if not start:
            raise DataError("dpa needs prompts with two replies scored on the same objectives; score the data first")
        held_out = validation_groups(self._start(data.validation, data, run.seed))
        fit(
            policy,
            GroupSource(start, self.optim.batch_size, run.seed),
            self.loss,
            run.stage("start"),
            self.optim,
            held_out,
        )
        for number in range(1, self.rounds + 1):
            # 2. a direction for every prompt; 3. replies under it; 4. the best of each
            stage = run.stage(f"pool-{number}")
            rng = np.random.default_rng(stage.seed)
            groups = self._best(policy, stage, data, rng)
            if not groups:
                raise DataError("the scorer scored no reply on every objective; see the pool's scored.jsonl")
            # 5. imitated, beside some of the start's
            old = rng.permutation(len(start))[: round(self.kept_share * len(groups))]
            groups += [start[place] for place in old.tolist()]
            source = GroupSource(groups, self.online.batch_size, stage.seed)
            fit(policy, source, self.loss, run.stage(f"round-{number}"), self.online)
        return policy

    def _start(self, records: Sequence[Record], data: TrainingData, seed: int) -> list[Group]:
        """Under each direction the best reply of the prompt; some without a direction."""
        groups: list[Group] = []
        for number, record in enumerate(records):
            if imitation.comparable(record, data.objectives).all():
                rng = np.random.default_rng([seed, number])
                drawn = [self.steering.draw(rng, data.objectives) for _ in range(self.directions_per_prompt)]
                found = imitation.best(record, data.objectives, np.stack([vector(v, data.objectives) for v in drawn]))
                groups += [replace(g, conditions=(None,)) if rng.random() < self.unasked else g for g in found]
        return groups

    def _best(self, policy: Policy, stage: Stage, data: TrainingData, rng: np.random.Generator) -> list[Group]:
        """Directions, replies under them, and of each prompt's the best in its direction."""
        asked = in_rounds(data.questions(), self.samples, rng)
        directions = [self.steering.draw(rng, data.objectives) for _ in asked]
        each, pools = self.replies // len(self.temperatures), []
        for place, temperature in enumerate(self.temperatures):
            how = replace(self.decoding, temperature=temperature)
            part, seed = stage.folder / f"part-{place}", stage.seed + place
            pools.append(rollout(part, policy, asked, directions, data.judge("dpa"), each, seed, how))
        groups: list[Group] = []
        for records, asked_for in zip(zip(*pools, strict=True), directions, strict=True):
            found = graded(records, data.objectives)
            for v in (
                asked_for,
                *(self.steering.draw(rng, data.objectives) for _ in range(1, self.directions_per_prompt)),
            ):
                best = best_in(found, v, data.objectives)
                groups += [Group.of(best.record, [best.reply], (v,))] if best is not None else []
        return groups

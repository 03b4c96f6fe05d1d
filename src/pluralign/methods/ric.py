"""Rewards-in-Context: one model that reads the rewards its reply should earn, trained by imitation alone.

    L = − log π_θ(y | x, "helpful 0.7, funny -1.2") / |y|       the rewards that y did earn, standardised

Source: Yang et al. 2024, arXiv 2402.10207 (methods.md A12). Offline: 1. score the data, standardise every objective;
2. write the rewards into the prompt; 3. imitate. Online, several times: 4. wish for rewards on the frontier: all of
them at their highest, but one drawn below; 5. answer under the wish, score, and relabel with what was earned; 6. keep
replies of which some reward is in the upper .3, beside offline ones chosen alike; 7. imitate them, at a constant rate.
A trade-off is asked for by a map from weights to rewards (`steering/prompt/scores.py`). Differs from the paper:
1. The rewards are those of the data, which a reward model may have given (`pluralign score`).
2. They stand before the user's turn, not behind it. 3. A share of the examples is unconditioned, for guidance.
4. A wish's lowest and highest rewards are those of the training data, not of 100k normal draws.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np

from pluralign.data import simplex
from pluralign.data.condition import Targets, from_vector
from pluralign.data.evidence import direction_signs
from pluralign.data.group import Group
from pluralign.data.objective import Objective, names
from pluralign.errors import ConfigError, DataError
from pluralign.losses.sft import SFT
from pluralign.methods.contract import Facts, TrainingData, validation_groups
from pluralign.methods.steps.graded import Graded, graded, in_rounds
from pluralign.policy import Policy
from pluralign.sampling.local import Decoding
from pluralign.sampling.pool import rollout
from pluralign.steering.prompt.scores import PromptScores
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run
from pluralign.training.source import GroupSource

log = logging.getLogger("pluralign")


@dataclass(frozen=True, kw_only=True)
class Ric:
    """Rewards in the prompt."""

    facts: ClassVar[Facts] = Facts("arXiv 2402.10207", "ratings per objective, and a scorer", "weights, targets", "1", "1")  # fmt: skip

    loss: SFT = field(default_factory=SFT)
    """token or sequence mean"""
    optim: Optim = field(default_factory=lambda: Optim(steps=20_000, batch_size=8, lr=1.41e-4))
    """of the offline part (paper: 20,000 steps of 8 examples, lr 1.41e-4)"""
    online: Optim = field(default_factory=lambda: Optim(steps=4_000, batch_size=8, lr=1e-5, schedule="constant"))
    """of each online iteration (paper: 4,000 steps, lr 1e-5, constant)"""
    iterations: int = 2
    """online iterations, 0 for the offline part alone (paper: 1 or 2)"""
    samples: int = 20_000
    """replies drawn in an iteration (paper: 20,000)"""
    offline_kept: int = 10_000
    """offline examples beside them, at most (paper: 10,000)"""
    quantile: float = 0.7
    """a reply is kept if one of its rewards reaches this quantile of its pool (paper: .7)"""
    wish: Literal["frontier", "weights"] = "frontier"
    """frontier: all rewards at their highest but one (paper); weights: what drawn trade-offs ask for"""
    unasked: float = 0.1
    """share of the examples trained without a condition (paper: 0)"""
    decoding: Decoding = field(default_factory=lambda: Decoding(temperature=0.7, top_p=0.9))
    """how replies are drawn (paper: temperature .7, top-p .9, 128 tokens)"""
    steering: PromptScores = field(default_factory=PromptScores)
    """how rewards are written, and trade-offs read"""

    def __post_init__(self) -> None:
        for name, least in (("iterations", 0), ("samples", 1), ("offline_kept", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 <= self.quantile < 1 or not 0 <= self.unasked < 1:
            raise ConfigError(f"quantile and unasked are in [0, 1), got {self.quantile} and {self.unasked}")
        if self.wish not in ("frontier", "weights"):
            raise ConfigError(f"wish is frontier or weights, got {self.wish!r}")

    def new_steering(self, objectives: Sequence[Objective]) -> PromptScores:
        """Rewards in the prompt; their statistics are learnt."""
        return replace(self.steering)

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """The paper's seven steps."""
        assert isinstance(policy.steering, PromptScores), "the policy has this method's steering"
        judge = data.judge("ric") if self.iterations else None
        offline = graded(data.train, data.objectives)
        if not offline:
            raise DataError("ric needs replies that are scored on every objective; score the data first")
        policy.steering.fit(np.stack([each.scores for each in offline]), data.objectives)
        held_out = self._groups(graded(data.validation, data.objectives), policy, run.seed)
        source = GroupSource(self._groups(offline, policy, run.seed), self.optim.batch_size, run.seed)
        fit(policy, source, self.loss, run.stage("offline"), self.optim, validation_groups(held_out))
        for number in range(1, self.iterations + 1):
            stage = run.stage(f"pool-{number}")
            rng = np.random.default_rng(stage.seed)
            asked = in_rounds(data.questions(), self.samples, rng)
            wishes = [self._wish(policy.steering, data.objectives, rng) for _ in asked]
            drawn = rollout(stage.folder, policy, asked, wishes, judge, 1, stage.seed, self.decoding)
            fresh = self._kept(graded(drawn, data.objectives), data.objectives)
            if not fresh:
                raise DataError("the scorer scored no reply on every objective; see the pool's scored.jsonl")
            old = self._kept(offline, data.objectives)
            chosen = rng.permutation(len(old))[: self.offline_kept]
            log.info("online %d: %d of %d new replies kept, %d old ones", number, len(fresh), len(drawn), len(chosen))
            groups = self._groups([*fresh, *(old[place] for place in chosen)], policy, stage.seed)
            source = GroupSource(groups, self.online.batch_size, stage.seed)
            fit(policy, source, self.loss, run.stage(f"online-{number}"), self.online)
        return policy

    def _groups(self, examples: Sequence[Graded], policy: Policy, seed: int) -> list[Group]:
        """A reply under the rewards that it earned, or under nothing."""
        plain = np.random.default_rng(seed).random(len(examples)) < self.unasked
        return [
            Group.of(each.record, [each.reply], (None if alone else _earned(each, policy.objectives),))
            for each, alone in zip(examples, plain, strict=True)
        ]

    def _wish(self, steering: PromptScores, objectives: Sequence[Objective], rng: np.random.Generator) -> Targets:
        """Rewards on the frontier: each drawn, the smallest kept, the others raised to their highest."""
        low, high = np.array(steering.low), np.array(steering.high)
        if self.wish == "weights":
            weights = simplex.draw(rng, 1, len(low))[0]
            return steering.translate(from_vector(weights, objectives), objectives)
        wanted = rng.uniform(low, high)
        place = int(np.argmin(wanted))
        return steering.targets(np.where(np.arange(len(low)) == place, wanted, high))

    def _kept(self, examples: Sequence[Graded], objectives: Sequence[Objective]) -> list[Graded]:
        """Replies of which some reward reaches its quantile; where most earn the lowest, the lowest does not count."""
        if not examples:
            return []
        signed = np.stack([each.scores for each in examples]) * direction_signs(objectives)
        upper = (signed >= np.quantile(signed, self.quantile, axis=0)) & (signed > signed.min(0))
        return [each for each, good in zip(examples, upper.any(1).tolist(), strict=True) if good]


def _earned(example: Graded, objectives: Sequence[Objective]) -> Targets:
    return Targets(dict(zip(names(objectives), example.scores.tolist(), strict=True)))

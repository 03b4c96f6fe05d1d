"""SteerLM: attribute-conditioned fine-tuning, every reply imitated under its own ratings.

    L = − log π_θ(y | x, v) / |y|,     v = "helpfulness:4,toxicity:0,humor:2"

Source: Dong et al. 2023, arXiv 2310.05344 (methods.md A9). 1. An attribute model learns the ratings: a regression (the
paper), or a 5-way classifier per attribute (the CMPO thesis). 2. It rates all replies anew. 3. The model imitates every
reply under these ratings. 4. Optionally it answers under high ratings, the attribute model says what came of it, and
it imitates its own replies under those, in rounds. Differs from the paper:
1. LoRA on attention by default (`steering.shared_where=None` trains everything), and the embeddings.
2. A share of the replies is imitated without ratings, so that guidance has something to compare with.
3. High ratings (step 4) are those that drawn weights ask for, one for each prompt, and every round goes on from the last.
4. Without an attribute model the data's ratings stay, and the scorer rates what is bootstrapped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

from pluralign.data.objective import Objective
from pluralign.data.record import Record
from pluralign.errors import ConfigError
from pluralign.losses.sft import SFT
from pluralign.methods.contract import Facts, TrainingData
from pluralign.methods.steps.rated import (
    AttributeKind,
    attributes,
    check_attributes,
    check_share,
    imitate,
    learn_levels,
    wishes,
)
from pluralign.policy import Policy
from pluralign.sampling.local import Decoding
from pluralign.sampling.pool import rollout
from pluralign.steering.prompt.levels import PromptLevels
from pluralign.training.optim import Optim
from pluralign.training.run import Run


@dataclass(frozen=True, kw_only=True)
class Steerlm:
    """One model that is asked for ratings."""

    facts: ClassVar[Facts] = Facts(
        "arXiv 2310.05344", "ratings per objective", "ratings, or weights", "1 and an attribute model", "1"
    )

    attribute_model: AttributeKind = "regression"
    """who rates the replies: a regression (the paper), classes (5-way, the thesis), or none: the data's own ratings"""
    attribute_optim: Optim = field(default_factory=lambda: Optim(lr=2e-4, head_lr=2e-3, steps=500, batch_size=16))
    """of the attribute model (batch_size in prompts; head_lr of its head)"""
    attribute_trunk: Literal["frozen", "attention", "all", "full"] = "attention"
    """what trains below the attribute model's head: nothing, a LoRA, or everything (the paper)"""
    loss: SFT = field(default_factory=SFT)
    """token or sequence mean"""
    optim: Optim = field(default_factory=lambda: Optim(lr=2e-4, steps=500, batch_size=8))
    """of the attribute-conditioned model (paper: lr 5e-6, full training; thesis: 46,000 steps of batch 4)"""
    unasked_share: float = 0.1
    """share of the replies that are imitated without ratings, for guidance (paper: 0)"""
    rounds: int = 0
    """bootstrapping rounds (paper: 0 or 1)"""
    replies_per_prompt: int = 4
    """replies to every prompt in a round (rounds > 0 only)"""
    decoding: Decoding = field(default_factory=Decoding)
    """how replies of a round are drawn (rounds > 0 only)"""
    round_optim: Optim = field(default_factory=lambda: Optim(lr=1e-4, steps=200, batch_size=8))
    """of every round (rounds > 0 only)"""
    steering: PromptLevels = field(default_factory=PromptLevels)
    """how ratings are written, how weights become ratings, and which layers learn to read them"""

    def __post_init__(self) -> None:
        check_share(self.unasked_share)
        check_attributes(self.attribute_model, self.attribute_trunk)
        if self.rounds < 0 or self.replies_per_prompt < 1:
            raise ConfigError(f"rounds from 0 of at least 1 reply, got {self.rounds} and {self.replies_per_prompt}")

    def new_steering(self, objectives: Sequence[Objective]) -> PromptLevels:
        """Ratings in the prompt."""
        return replace(self.steering)

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """Steps 1 to 4 of the paper."""
        # 1, 2: the attribute model, and its ratings of all replies
        train, judge = attributes(policy, data, run, self.attribute_model, self.attribute_trunk, self.attribute_optim)
        # 3: every reply under its own ratings
        learn_levels(policy, train)
        self._imitate(policy, train, run, "steerlm", self.optim)
        # 4: what it answers under high ratings, under what these answers earn
        for number in range(1, self.rounds + 1):
            scorer = judge or data.judge("steerlm")
            prompts = data.questions()
            asked = wishes(policy, len(prompts), [run.seed, number])
            seed = run.stage(f"pool-{number}").seed
            pool = rollout(
                run.stage(f"pool-{number}").folder, policy, prompts, asked, scorer, self.replies_per_prompt, seed,
                self.decoding,
            )  # fmt: skip
            self._imitate(policy, pool, run, f"bootstrap-{number}", self.round_optim)
        return policy

    def _imitate(self, policy: Policy, records: Sequence[Record], run: Run, name: str, optim: Optim) -> None:
        imitate(policy, records, run.stage(name), self.loss, optim, self.unasked_share)

"""Quark: quantised reward conditioning. Replies are drawn, sorted by reward into quantiles, and learnt under their token.

    L = 1/|y| Σ_t [ − log p_θ(y_t | r_q, x, y_<t) + β KL(p_θ(. | r_q, x, y_<t) ‖ p_0(. | x, y_<t)) − α H(p_θ) ]

Source: Lu, Welleck, Hessel, Jiang, Qin, West, Ammanabrolu, Choi 2022, arXiv 2205.13636 (methods.md A15); the KL is the
reverse one of the public code, without the reward tokens. Each round: 1. exploration: replies to prompts, asked for the
best token (of the base at first), scored and added to the pool, of which nothing is dropped; 2. quantisation: the whole
pool is sorted and cut into K quantiles; 3. learning under the tokens. Differs from the paper:
1. Several objectives, each with tokens of its own; a reply is learnt under those of some objectives, and exploration asks
   for the best token of each objective in turn. `wording.kind` "overall" is the paper's single reward.
2. Weights ask for the tokens whose replies served them best (`steering/phrases.py`).
3. Per round every quantile and objective is seen equally often only where `wording.each` says so; the loss is a mean per
   reply, the public code's per token of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from pluralign.data.condition import Condition, Feedback
from pluralign.data.objective import Objective, names
from pluralign.data.record import Record
from pluralign.errors import ConfigError
from pluralign.losses.conditional import Conditional
from pluralign.methods.contract import Facts, TrainingData
from pluralign.methods.steps.rounds import Rounds
from pluralign.methods.steps.wording import Wording
from pluralign.policy import Policy
from pluralign.sampling.local import Decoding
from pluralign.steering.phrases import BEST
from pluralign.steering.prompt.quantiles import PromptQuantiles
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run, Stage
from pluralign.training.source import GroupSource


@dataclass(frozen=True, kw_only=True)
class Quark:
    """One model that is told the quantile to reach."""

    facts: ClassVar[Facts] = Facts("arXiv 2205.13636", "a scorer", "quantiles, weights or targets", "1", "1")

    loss: Conditional = field(default_factory=lambda: Conditional(beta=0.05, alpha=0.06, kl="reverse"))
    """the terms (paper: beta .05, alpha .06, reverse KL)"""
    optim: Optim = field(
        default_factory=lambda: Optim(steps=500, lr=1e-5, batch_size=128, schedule="linear", min_lr_ratio=0.0)
    )
    """of every round (paper: lr 1e-5, batch 128, a round of 500 steps)"""
    rounds: Rounds = field(
        default_factory=lambda: Rounds(num=16, replies=1, drop=0.0, decoding=Decoding(max_new_tokens=20))
    )
    """exploration (paper: nothing is dropped; 16 rounds of 500 steps, 20 tokens on toxicity)"""
    wording: Wording = field(default_factory=lambda: Wording(scope="global", each=None))
    """the quantiles (paper: of the whole pool)"""
    steering: PromptQuantiles = field(default_factory=PromptQuantiles)
    """the tokens; which layers learn to read them (paper: all, shared_where none)"""

    def __post_init__(self) -> None:
        if self.wording.kind not in ("levels", "overall"):
            raise ConfigError(f"quark reads scores (wording.kind levels or overall), not {self.wording.kind}")

    def new_steering(self, objectives: Sequence[Objective]) -> PromptQuantiles:
        """Reward tokens in the prompt."""
        return replace(self.steering)  # training fills it in

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """Rounds of steps 1 to 3."""
        judge = data.judge("quark") if self.rounds.num else None
        if self.loss.needs_reference:
            policy.keep_reference()  # p_0
        axes = [""] if self.wording.kind == "overall" else names(data.objectives)

        def ask(rng: np.random.Generator) -> Condition:  # 1. the best token
            return Feedback(policy.steering.phrase([(axes[int(rng.integers(len(axes)))], BEST)]))  # type: ignore[attr-defined]

        def learn(pool: list[Record], stage: Stage) -> None:
            groups = self.wording.read(pool, data.objectives, policy.steering, stage.seed)  # type: ignore[arg-type]  # 2.
            source = GroupSource(groups, self.optim.batch_size, run.seed)
            fit(policy, source, self.loss, stage, self.optim)  # 3.

        self.rounds.run(policy, run, data.train, data.questions(), judge, ask, learn)
        return policy

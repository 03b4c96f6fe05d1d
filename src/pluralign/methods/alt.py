"""ALT: alignment with textual feedback. Replies are drawn, told in words how good they are, and learnt under the words.

    L = 1/|y| Σ_t [ − log p_θ(y_t | f, x, y_<t) + β KL(p_0(. | x, y_<t) ‖ p_θ(. | f, x, y_<t)) − α H(p_θ(. | f, x, y_<t)) ]

Source: Abadal Lloret, Dhuliawala, Murugesan, Sachan 2024 (EMNLP; methods.md A14). D ← ∅. For k = 1 .. N: 1. draw
prompts, and replies of p_{k−1} to them, asked for exemplar feedback f̂ (of the base without feedback at first). 2. Give
each its feedback f = F(x, y). 3. D ← D ∪ {(x, y, f)}, less what is dropped. 4. Conditional fine-tuning on D.
Feedback: quantile words of a score, a judge's category, or its comment (`methods/steps/wording.py`). Differs from the paper:
1. Several objectives, each with words of its own; a phrase speaks of some of them ("helpful good, funny bad"), and
   weights ask for the phrase whose replies served them best (`steering/phrases.py`). `wording.kind` "overall" is the paper's.
2. Exemplars "all" (the default) ask for every category, or for what drawn weights ask for; the paper asks for the best
   alone, and thereby loses what it was to be steered with (its own finding). "best" is the paper's.
3. The condition stands between two new tokens before the dialogue, not before a separator; a tenth is learnt without.
4. What is dropped between rounds is drawn from all replies alike, not category by category.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np

from pluralign.data import simplex
from pluralign.data.condition import Condition, Feedback, from_vector
from pluralign.data.objective import Objective
from pluralign.data.record import Record
from pluralign.errors import ConfigError
from pluralign.losses.conditional import Conditional
from pluralign.methods.contract import Facts, TrainingData
from pluralign.methods.steps.rounds import Rounds
from pluralign.methods.steps.wording import Wording
from pluralign.policy import Policy
from pluralign.steering.prompt.words import PromptWords
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run, Stage
from pluralign.training.source import GroupSource


@dataclass(frozen=True, kw_only=True)
class Alt:
    """One model that is told the feedback to earn."""

    facts: ClassVar[Facts] = Facts(
        "Abadal Lloret et al. 2024 (EMNLP)", "a scorer, categories or comments", "words, weights or targets", "1", "1"
    )

    loss: Conditional = field(default_factory=lambda: Conditional(alpha=0.06))
    """the terms (paper: alpha .06 everywhere, beta .05 on toxicity only)"""
    optim: Optim = field(default_factory=lambda: Optim(lr=2e-5, batch_size=8, schedule="linear", min_lr_ratio=0.0))
    """of every round; steps are ignored if `epochs` is set (paper: lr 2e-5, batch 8 or 32)"""
    epochs: float | None = 2.0
    """passes over a round's examples (paper: 2 on summaries); none uses optim.steps"""
    rounds: Rounds = field(default_factory=Rounds)
    """sampling"""
    wording: Wording = field(default_factory=Wording)
    """the feedback"""
    exemplars: Literal["all", "best"] = "all"
    """the feedback that replies are asked for: every category, or what drawn weights ask for (all); the best alone (paper)"""
    steering: PromptWords = field(default_factory=PromptWords)
    """the words; which layers learn to read them (paper: all, shared_where none)"""

    def __post_init__(self) -> None:
        if self.epochs is not None and not 0 < self.epochs < float("inf"):
            raise ConfigError(f"epochs must be a finite number above 0 (or None), got {self.epochs}")

    def new_steering(self, objectives: Sequence[Objective]) -> PromptWords:
        """Words in the prompt."""
        return replace(self.steering)  # training fills it in

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """Rounds of steps 1 to 4."""
        judge = data.judge("alt") if self.rounds.num else None
        if self.loss.needs_reference:
            policy.keep_reference()  # p_0

        def ask(rng: np.random.Generator) -> Condition:  # 1. f̂
            return self._exemplar(policy, rng)

        def learn(pool: list[Record], stage: Stage) -> None:
            groups = self.wording.read(pool, data.objectives, policy.steering, stage.seed)  # type: ignore[arg-type]  # 2.
            source = GroupSource(groups, self.optim.batch_size, run.seed)
            steps = self.optim.steps if self.epochs is None else source.steps(self.epochs)
            fit(policy, source, self.loss, stage, replace(self.optim, steps=steps))  # 4.

        self.rounds.run(policy, run, data.train, data.questions(), judge, ask, learn)
        return policy

    def _exemplar(self, policy: Policy, rng: np.random.Generator) -> Condition:
        """The feedback to ask for: the best phrase, every category in turn, or what drawn weights ask for."""
        num = policy.num_objectives
        if self.exemplars == "best":
            return policy.steering.translate(from_vector(np.full(num, 1 / num), policy.objectives), policy.objectives)
        if self.wording.kind in ("overall", "categories"):
            return Feedback(self.steering.phrase([("", int(rng.integers(self.steering.num_levels)))]))
        weights = simplex.draw(rng, 1, num)[0]
        return policy.steering.translate(from_vector(weights, policy.objectives), policy.objectives)

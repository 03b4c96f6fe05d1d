"""Chain of Hindsight: two replies in one sequence, each after the feedback that it earned; later, feedback that is wished.

    x, "a more helpful answer", y_w, "a less helpful answer:", y_l          (or y_l first, at random)
    L = mean of − log p_θ over the tokens of both replies; the words of feedback are read, not learnt

Source: Liu, Sferrazza, Abbeel 2023, arXiv 2302.02676 (methods.md A16). Steps: 1. pairs of replies, one better than the
other; 2. chains of them, in either order, with one of several templates; 3. fine-tuning on the replies' tokens; 4. at
inference x with the positive words. Differs from the paper:
1. Several objectives: a chain is about a set of them, its words name the set ("a more helpful and funny answer"), and the
   better reply is the one with the better mean. Weights ask for the set whose equal weights are nearest in direction.
2. The first feedback is the condition, between two tokens before the dialogue; the second stands inside the response.
3. A share of the chains has one reply (`alone`), so that a reply is learnt to end where no feedback follows; with
   nothing but those it is conditional fine-tuning.
4. Past tokens are hidden in replies alone (`forget`, training/forgetful.py), not in the prompt; no general text is added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np

from pluralign.data.condition import Feedback
from pluralign.data.conversions import chained
from pluralign.data.group import Group
from pluralign.data.objective import Objective
from pluralign.data.record import Record, Response
from pluralign.encoding import Encoder
from pluralign.errors import ConfigError, DataError
from pluralign.losses.conditional import COUNTED, Conditional
from pluralign.methods.contract import Facts, TrainingData, validation_groups
from pluralign.policy import Policy
from pluralign.steering.prompt.words import PromptWords
from pluralign.training.fit import fit
from pluralign.training.forgetful import ForgetfulSource
from pluralign.training.optim import Optim
from pluralign.training.run import Run


@dataclass(frozen=True, kw_only=True)
class Hindsight:
    """One model that is told which answer to give, and was shown both kinds."""

    facts: ClassVar[Facts] = Facts(
        "arXiv 2302.02676", "ratings or comparisons per objective", "words or weights", "1", "1"
    )

    loss: Conditional = field(default_factory=Conditional)
    """mean over the tokens of replies (paper: no other term)"""
    optim: Optim = field(default_factory=lambda: Optim(lr=1e-5, batch_size=32))
    """the optimisation; steps are ignored if `epochs` is set"""
    epochs: float | None = 1.0
    """passes over the chains; none uses optim.steps"""
    chains: int = 8
    """chains of each record"""
    alone: float = 0.5
    """share of chains with a single reply (paper: 0)"""
    together: int = 3
    """objectives that a chain is about, at most (paper: one notion of better)"""
    forget: float = 0.15
    """tokens of a reply that what follows does not see: a share drawn from 0 to this at every step (paper: about .15)"""
    pairs: Literal["random", "widest"] = "random"
    """which pair of a record's replies is shown: any that differ, or those that differ most"""
    unasked: float = 0.1
    """share of single replies learnt without feedback, which guidance needs (paper: 0)"""
    better: tuple[str, ...] = ("a more {} answer", "an answer that is {}")
    """templates for the better reply, {} the objectives; the first is what weights ask for"""
    worse: tuple[str, ...] = ("a less {} answer", "an answer that is not {}")
    """templates for the worse reply, each the opposite of its namesake above"""
    steering: PromptWords = field(default_factory=PromptWords)
    """which layers learn to read the words (paper: all, shared_where none)"""

    def __post_init__(self) -> None:
        if self.epochs is not None and not 0 < self.epochs < float("inf"):
            raise ConfigError(f"epochs must be a finite number above 0 (or None), got {self.epochs}")
        shares = (self.alone, self.unasked, self.forget)
        if min(self.chains, self.together) < 1 or min(shares) < 0 or max(shares) > 1 or self.forget == 1:
            raise ConfigError(
                "hindsight: chains and together are at least 1; alone, unasked and forget (below 1) shares"
            )
        pairs = list(zip(self.better, self.worse, strict=False))
        if not pairs or len(self.better) != len(self.worse) or any(t.count("{}") != 1 for pair in pairs for t in pair):
            raise ConfigError("hindsight: better and worse are equally many templates, each with one {}")

    def new_steering(self, objectives: Sequence[Objective]) -> PromptWords:
        """Words in the prompt; what the first template says of each set of objectives is worth that set's direction."""
        sets = chained.sets(len(objectives), self.together)
        directions = np.array([[float(j in chosen) for j in range(len(objectives))] for chosen in sets])
        steering = replace(self.steering)
        said = [self.better[0].format(chained.listed(chosen, objectives)) for chosen in sets]
        steering.learn(said, directions / np.linalg.norm(directions, axis=1, keepdims=True), measured=False)
        return steering

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """Steps 1 to 3; step 4 is the steering's."""
        groups, held_out = (
            self._groups(part, data, policy.encoder, run.seed) for part in (data.train, data.validation)
        )
        if not groups:
            raise DataError(
                "hindsight needs prompts with two replies that differ on an objective: score or compare them"
            )
        if self.loss.needs_reference:
            policy.keep_reference()
        source = ForgetfulSource(groups, self.optim.batch_size, run.seed, self.forget, policy.encoder)
        steps = self.optim.steps if self.epochs is None else source.steps(self.epochs)
        optim = replace(self.optim, steps=steps)
        fit(policy, source, self.loss, run.stage("hindsight"), optim, validation_groups(held_out))
        return policy

    def _groups(self, records: Sequence[Record], data: TrainingData, encoder: Encoder, seed: int) -> list[Group]:
        found: list[Group] = []
        widest = self.pairs == "widest"
        for number, record in enumerate(records):
            rng = np.random.default_rng([seed, number])
            for chosen, better, worse in chained.pairs(
                record, data.objectives, self.chains, rng, self.together, widest
            ):
                found.append(self._chain(record, chained.listed(chosen, data.objectives), better, worse, encoder, rng))
        return found

    def _chain(
        self, record: Record, about: str, better: Response, worse: Response, encoder: Encoder, rng: np.random.Generator
    ) -> Group:
        """Step 2: one sequence."""
        template = int(rng.integers(len(self.better)))
        said = [(better, self.better[template].format(about)), (worse, self.worse[template].format(about))]
        (first, told), (second, then) = said if rng.random() < 0.5 else said[::-1]
        if rng.random() < self.alone or not first.finished:
            asked = None if rng.random() < self.unasked else Feedback(told)
            return Group.of(record, [first], (asked,))
        both = replace(second, text=f"{first.text} {then}: {second.text}")
        counted = counted_tokens(encoder, first.text, second, both)
        return replace(Group.of(record, [both], (Feedback(told),)), series={COUNTED: (counted,)})


def counted_tokens(encoder: Encoder, first: str, second: Response, both: Response) -> tuple[float, ...]:
    """1 for the tokens of both replies (and the end), 0 for the words of feedback between them."""
    whole = encoder.response(both.text, both.finished)
    before = _common(whole, encoder.text_ids(first))
    after = _common(whole[::-1], encoder.response(second.text, second.finished)[::-1])
    between = max(len(whole) - before - after, 0)
    return (1.0,) * before + (0.0,) * between + (1.0,) * (len(whole) - before - between)


def _common(one: Sequence[int], two: Sequence[int]) -> int:
    """How many ids agree from the start."""
    return next((place for place, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))

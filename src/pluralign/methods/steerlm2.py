"""SteerLM 2.0: the attribute-conditioned model is drawn to the Bayes posterior of its attribute model.

    P(y | a, x) ∝ P(a | x, y) P(y | x),     P(a | x, y) = Π_j P(X_j in bin a_j),  X_j ~ Beta(c r_j, c (1 − r_j)),  c = 24

Source: Wang et al. 2024, arXiv 2406.08673 (section 4.5; methods.md A10). 1. SteerLM gives the first Q_θ. In iterations:
2. Q' = Q_θ answers every prompt n times under wished ratings a. 3. A sample's weight is P(a|x,y) P(y|x) / Q'(y|a,x),
where r_j is what the attribute model says, as a part of the range, and P(y|x) is the base. 4. Q_θ is fitted by KL(w' ‖ b')
(losses/steerlm2.py). Differs from the paper:
1. Attributes are independent given the reply, and bins are as many equal parts of [0, 1] as there are levels (the paper
   does not say); r is held in [.001, .999], probabilities above e^-60.
2. Each prompt is asked for one a per iteration: the ratings that drawn weights ask for (the paper takes those of data).
3. Samples that were cut off or not scored are left out, and prompts with fewer than two others.
4. As in the paper, Q' is taken at temperature 1 although samples are drawn at .7; decoding.temperature=1 is exact.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pluralign.data.condition import Targets
from pluralign.data.group import Group
from pluralign.data.objective import Objective
from pluralign.data.rating_odds import log_odds
from pluralign.data.record import Record, Response
from pluralign.errors import ConfigError, DataError
from pluralign.losses.sft import SFT
from pluralign.losses.steerlm2 import PosteriorKL
from pluralign.methods.contract import Facts, TrainingData
from pluralign.methods.steps.rated import (
    AttributeKind,
    attributes,
    check_attributes,
    check_share,
    imitate,
    learn_levels,
    levels_of,
    wishes,
)
from pluralign.policy import Policy
from pluralign.sampling.local import Decoding
from pluralign.sampling.on_policy import log_ratios
from pluralign.sampling.pool import rollout
from pluralign.steering.prompt.levels import PromptLevels
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run
from pluralign.training.source import GroupSource


@dataclass(frozen=True, kw_only=True)
class Steerlm2:
    """SteerLM, then its posterior."""

    facts: ClassVar[Facts] = Facts(
        "arXiv 2406.08673", "ratings per objective", "ratings, or weights", "1 and an attribute model", "1"
    )

    attribute_model: AttributeKind = "regression"
    """who rates: a regression (the paper), classes, or none: the data's own ratings, and the scorer's of new replies"""
    attribute_optim: Optim = field(default_factory=lambda: Optim(lr=2e-4, head_lr=2e-3, steps=500, batch_size=16))
    """of the attribute model (batch_size in prompts)"""
    attribute_trunk: Literal["frozen", "attention", "all", "full"] = "attention"
    """what trains below the attribute model's head (the paper: everything)"""
    concentration: float = 24.0
    """c of the Beta distribution, how sure the attribute model is (paper: 24)"""
    first_optim: Optim = field(default_factory=lambda: Optim(lr=2e-4, steps=500, batch_size=8))
    """of SteerLM, the first Q"""
    unasked_share: float = 0.1
    """share of the replies that SteerLM imitates without ratings, for guidance (paper: 0)"""
    loss: PosteriorKL = field(default_factory=PosteriorKL)
    """KL(w' ‖ b'), and how far the weights are tempered"""
    iterations: int = 2
    """rounds of sampling and fitting (paper: 2)"""
    replies_per_prompt: int = 10
    """n, samples of a prompt (paper: 10)"""
    decoding: Decoding = field(default_factory=lambda: Decoding(temperature=0.7, top_p=0.9))
    """how they are drawn (paper: temperature .7, top-p .9)"""
    optim: Optim = field(default_factory=lambda: Optim(lr=2e-5, steps=200, batch_size=8, schedule="constant"))
    """of an iteration, batch_size in prompts (paper: lr 1e-7, constant, full training, 128 prompts, 2 epochs)"""
    steering: PromptLevels = field(default_factory=PromptLevels)
    """how ratings are written, how weights become ratings, and which layers learn to read them"""

    def __post_init__(self) -> None:
        check_share(self.unasked_share)
        check_attributes(self.attribute_model, self.attribute_trunk)
        if self.iterations < 1 or self.replies_per_prompt < 2:
            raise ConfigError(f"at least 1 iteration of 2 replies, got {self.iterations} and {self.replies_per_prompt}")
        if not 0 < self.concentration < float("inf"):
            raise ConfigError(f"concentration must be a finite number above 0, got {self.concentration}")

    def new_steering(self, objectives: Sequence[Objective]) -> PromptLevels:
        """Ratings in the prompt."""
        return dataclasses.replace(self.steering)

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """SteerLM, then rounds of samples and their posterior weights."""
        policy.keep_reference()  # P(y|x)
        train, judge = attributes(policy, data, run, self.attribute_model, self.attribute_trunk, self.attribute_optim)
        scorer = judge or data.judge("steerlm2")
        # 1: the first Q
        learn_levels(policy, train)
        imitate(policy, train, run.stage("steerlm"), SFT(), self.first_optim, self.unasked_share)
        prompts = data.questions()
        for number in range(1, self.iterations + 1):
            # 2: samples of Q', rated
            stage, asked = run.stage(f"pool-{number}"), wishes(policy, len(prompts), [run.seed, number])
            how = (self.replies_per_prompt, stage.seed, self.decoding)
            pool = rollout(stage.folder, policy, prompts, asked, scorer, *how)
            # 3, 4: their weights, and the fit
            source = GroupSource(self.weighted(policy, pool), self.optim.batch_size, run.seed)
            fit(policy, source, self.loss, run.stage(f"posterior-{number}"), self.optim)
        return policy

    def weighted(self, policy: Policy, pool: Sequence[Record]) -> list[Group]:
        """A group per prompt: its samples under the condition they were drawn under, with log w and log Q' (nats)."""
        levels = levels_of(policy).levels
        whole = [dataclasses.replace(r, responses=tuple(filter(_usable, r.responses))) for r in pool]
        kept = [record for record in whole if len(record.responses) > 1]
        if not kept:
            raise DataError(
                "no prompt has two replies that ended and were scored; raise decoding.max_new_tokens, train SteerLM for "
                "longer, or look at the scorer"
            )
        samples = [(record.messages, reply) for record in kept for reply in record.responses]
        prompts, replies = [asked for asked, _ in samples], [reply for _, reply in samples]
        drawn = iter(policy.logprobs(prompts, [y.text for y in replies], [y.condition for y in replies]).tolist())
        groups = []
        for record, ratios in zip(kept, log_ratios(policy, kept), strict=True):
            asked = record.responses[0].condition
            odds = [log_odds(y, asked, policy.objectives, levels, self.concentration) for y in record.responses]
            values = tuple((fit - rho, next(drawn)) for fit, rho in zip(odds, ratios, strict=True))
            groups.append(dataclasses.replace(Group.of(record, record.responses, (asked, asked)), values=values))
        return groups


def _usable(reply: Response) -> bool:
    """Ended by itself, and scored on everything that was asked for: a missing score would count as a perfect one."""
    wished = reply.condition.values if isinstance(reply.condition, Targets) else {}
    return bool(reply.text) and reply.finished and all(reply.scores.get(name) is not None for name in wished)

"""CLP: conditional language policy, parameters conditioned on weights that are drawn anew for every prompt.

    max_θ E_{w ~ Q} [ (1 − α) E_{y ~ π} w·R(x, y) − α KL(π ‖ π_ref) ],   π = LM(θ_R, Σ_i w_i θ_S^(i)),  θ_S^(i) = θ_0 + ΔW_i

by policy gradient on the return G = (1 − α) w·R − α ρ. S names the variant: full-CLP (`steering.where` all), attn-CLP
(attention), logit-CLP (head), prompting (`PromptWeights`: S is empty, the weights are written into the prompt).

Source: Wang et al. 2024, arXiv 2407.15762 (methods.md A2). With `alpha_range`, α is drawn too and has a copy of its
own (steering/plural_kl.py): with one objective the paper's two copies, one reward and many α; with several, w and α
together. Then the strength of a condition asks for α. Differs from the paper, or fixes what it leaves open:
1. ΔW_i is low-rank by default and starts at 0 (`steering.rank` full: the paper's copies); nothing else is trained
   unless `steering.shared_where` says where.
2. Q is Dirichlet(1, .., 1) with a mass of .1 on single objectives; weights are drawn per prompt, k replies under each.
3. The baseline is RLOO's; rewards are standardised on replies of the reference.
4. `learn_from` preferences is ours: no sampling, pairs of the data judged under drawn weights (cDPO, DPO or the
   regression), as cmpo does; its weights are drawn for a step, a quarter of them single objectives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import ClassVar, Literal

import numpy as np

from pluralign.data import simplex
from pluralign.data.condition import Condition, Weights, from_vector, vector
from pluralign.data.objective import Objective
from pluralign.data.record import Record
from pluralign.errors import ConfigError
from pluralign.losses.policy_gradient import PolicyGradient
from pluralign.methods.contract import Facts, TrainingData
from pluralign.methods.steps.drawn_pairs import DrawnPairs
from pluralign.methods.steps.online import Advantages, Array, Sampling, rollouts, view_of_returns, weighed
from pluralign.policy import Policy
from pluralign.steering.plural import PluralSteering
from pluralign.steering.plural_kl import PluralKL
from pluralign.steering.prompt.weights import PromptWeights
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run


@dataclass(frozen=True, kw_only=True)
class Clp:
    """Copies of parameters mixed by weights, trained under drawn weights."""

    facts: ClassVar[Facts] = Facts(
        "arXiv 2407.15762", "a scorer (or ratings, comparisons)", "weights; strength with alpha_range", "1", "1"
    )

    learn_from: Literal["replies", "preferences"] = "replies"
    """replies: policy gradient on replies of its own, which the scorer judges; preferences: pairs of the training data"""
    alpha: float = 0.01
    """α, the weight of the KL to the reference (the paper's .01); with a range, the α that strength 1 asks for"""
    alpha_range: tuple[float, float] | None = None
    """draw α evenly between these, and let it be asked for; none keeps it fixed"""
    corner: float = 0.1
    """share of prompts that are answered under one objective alone"""
    sampling: Sampling = field(default_factory=Sampling)
    """replies of a step, baseline, units of the rewards"""
    pairs: DrawnPairs = field(default_factory=DrawnPairs)
    """loss and weights of a step (learn_from preferences)"""
    optim: Optim = field(default_factory=lambda: Optim(steps=1000, lr=1e-4))
    """the optimisation (learn_from preferences: batch_size is half the replies of a step)"""
    steering: PluralSteering | PromptWeights = field(default_factory=lambda: PluralSteering(where="attention"))
    """where the copies stand (all, attention, head), or weights in the prompt"""
    checkpoint_every: int = 25
    """steps between checkpoints"""

    def new_steering(self, objectives: Sequence[Objective]) -> PluralSteering | PromptWeights | PluralKL:
        """The steering; with a range of α, its layers with one copy more. Raises ConfigError."""
        if self.alpha_range is None:
            return self.steering
        if self.learn_from == "preferences" or not isinstance(self.steering, PluralSteering):
            raise ConfigError("alpha_range needs learn_from replies and plural layers; leave it out, or change those")
        if self.steering.base_share != "one":
            raise ConfigError("with alpha_range the copies are changes of one base; leave steering.base_share at one")
        own = {each.name: getattr(self.steering, each.name) for each in fields(self.steering)}
        own.pop("base_share")
        return PluralKL(**own, alpha=self.alpha, lowest=self.alpha_range[0], highest=self.alpha_range[1])

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """Draw weights, answer, score, climb; or judge pairs of the data under drawn weights."""
        self._check()
        policy.keep_reference()  # where all weights are trained
        stage = run.stage("clp")
        if self.learn_from == "preferences":
            self.pairs.fit(policy, data, stage, self.optim, self.checkpoint_every)
            return policy
        scorer = data.judge("clp")
        scale = self.sampling.scale(policy, data, scorer, run)
        objectives = data.objectives

        def ask(rng: np.random.Generator) -> Condition:  # step 2: w ~ Q, and α where it is drawn
            return self._drawn(rng, policy, objectives)

        def worth(record: Record, rewards: Array, rho: Array) -> Array:  # step 5: G = (1 − α) w·R − α ρ
            asked = record.responses[0].condition
            assert isinstance(asked, Weights)
            alpha = self._alpha(policy, asked)
            values = weighed(vector(replace(asked, strength=1.0), objectives), rewards)
            return np.asarray((1 - alpha) * values - alpha * rho)

        advantages = Advantages(self.sampling.baseline, rollouts(stage))
        view = view_of_returns(policy, objectives, scale, worth, advantages)
        source = self.sampling.source(policy, data, scorer, stage, ask, view)  # steps 1, 3 and 4
        fit(policy, source, PolicyGradient(), stage, self.optim, checkpoint_every=self.checkpoint_every)
        return policy

    def _drawn(self, rng: np.random.Generator, policy: Policy, objectives: Sequence[Objective]) -> Weights:
        num = len(objectives)
        inside, corner = simplex.dirichlet(rng, 1, num)[0], np.eye(num)[rng.integers(num)]
        weights = from_vector(corner if rng.random() < self.corner else inside, objectives)
        if not isinstance(policy.steering, PluralKL):
            return weights
        level = rng.uniform(policy.steering.lowest, policy.steering.highest)
        return replace(weights, strength=policy.steering.strength(level))

    def _alpha(self, policy: Policy, asked: Weights) -> float:
        return policy.steering.level(asked.strength) if isinstance(policy.steering, PluralKL) else self.alpha

    def _check(self) -> None:
        """Every setting acts or raises (ConfigError)."""
        if not (0 <= self.alpha < 1 and 0 <= self.corner <= 1):
            raise ConfigError(f"alpha is in [0, 1) and corner in [0, 1], got {self.alpha} and {self.corner}")
        if self.learn_from == "replies" and self.pairs != DrawnPairs():
            raise ConfigError("pairs are learnt from where learn_from is preferences; set that, or leave pairs alone")
        if self.learn_from == "preferences" and (self.alpha, self.corner, self.sampling) != (0.01, 0.1, Sampling()):
            raise ConfigError(
                "no replies are drawn where learn_from is preferences; leave alpha, corner, sampling alone"
            )

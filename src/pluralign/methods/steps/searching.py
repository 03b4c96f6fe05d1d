"""What methods share that search among replies when they answer (bon, darwin): a scorer that stays with the policy.

Scores of different objectives are added up, so each counts in units of its own: the deviation of its scores over replies
of the reference, drawn and judged once, or the width of its range.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pluralign.data.objective import Objective
from pluralign.errors import ConfigError, DataError
from pluralign.methods.contract import TrainingData
from pluralign.policy import Policy
from pluralign.sampling.local import Decoding
from pluralign.sampling.pool import rollout
from pluralign.sampling.spread import spreads
from pluralign.steering.search import SearchSteering
from pluralign.training.run import Run

log = logging.getLogger("pluralign")


@dataclass(frozen=True, kw_only=True)
class Searching:
    """The settings of a method that trains nothing and searches when it answers; a method adds its steering."""

    scale: Literal["spread", "range"] = "spread"
    """what a point of an objective is worth: the deviation of its scores over replies of the reference, or its range"""
    num_prompts: int = 128
    """prompts whose replies measure the spread (scale spread only)"""
    replies_per_prompt: int = 4
    """replies of each (scale spread only)"""
    decoding: Decoding = field(default_factory=Decoding)
    """how these are drawn"""
    steering: SearchSteering = field(default_factory=SearchSteering)
    """candidates, and how they compete"""

    def new_steering(self, objectives: Sequence[Objective]) -> SearchSteering:
        """A search of its own."""
        return dataclasses.replace(self.steering)

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """Give the policy its scorer, and measure what the scorer's points are worth."""
        steering = policy.steering
        if not isinstance(steering, SearchSteering):
            raise ConfigError(f"{self._name} answers by search; make its policy with new_steering")
        self._check(steering, data.scorer_name)
        steering.choose_by(data.judge(self._name), data.scorer_name)
        if self.scale == "spread" and not steering.spreads:
            steering.spreads = self._spreads(policy, data, run)
        log.info("%s: %d candidates, at most %.3f nats from the base", self._name, steering.num, steering.kl_bound)
        return policy

    def _check(self, steering: SearchSteering, name: str) -> None:
        """Every setting acts or raises (ConfigError)."""
        if steering.scorer and name and steering.scorer != name:
            raise ConfigError(f"steering.scorer is {steering.scorer!r} and the scorer given is {name!r}; leave one out")
        if self.scale == "range" and steering.spreads:
            raise ConfigError("scale range takes no spreads; leave steering.spreads out, or use scale spread")
        if min(self.num_prompts, self.replies_per_prompt) < 1:
            raise ConfigError(
                f"a spread needs at least 1 prompt and 1 reply of each, got {self.num_prompts}, {self.replies_per_prompt}"
            )

    @property
    def _name(self) -> str:
        return type(self).__name__.lower()

    def _spreads(self, policy: Policy, data: TrainingData, run: Run) -> tuple[float, ...]:
        prompts = data.questions()[: self.num_prompts]
        if not prompts:
            raise DataError(
                "there are no prompts to measure the scorer's spread on; give --prompts, or data with prompts"
            )
        how = (self.replies_per_prompt, run.seed, self.decoding)
        stage = run.stage("spread")
        scored = rollout(stage.folder, policy, prompts, [None] * len(prompts), data.judge(self._name), *how)
        found = spreads(scored, data.objectives)
        stage.finish({objective.name: spread for objective, spread in zip(data.objectives, found, strict=True)})
        return found

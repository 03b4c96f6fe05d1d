"""The contract of a method: a paper's algorithm as a frozen dataclass whose fields are its hyper-parameters.

A method file's docstring is the definition: name, citation, equation, and what differs from the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from pluralign.data.group import Group
from pluralign.data.objective import Objective
from pluralign.data.record import Record
from pluralign.errors import ConfigError
from pluralign.policy import Policy
from pluralign.reward_model import RewardModel
from pluralign.sampling.pool import without_replies
from pluralign.scorers.contract import Scorer
from pluralign.steering.contract import Steering
from pluralign.training.run import Run


@dataclass(frozen=True)
class TrainingData:
    """What a method is given. `validation` records choose the checkpoint where there are any; on-policy methods answer
    `prompts` (none: those of the training records), and `scorer` judges what they answer; `scorer_name` opens it again
    (for policies that need it when they answer)."""

    train: Sequence[Record]
    objectives: tuple[Objective, ...]
    validation: Sequence[Record] = field(default_factory=list)
    prompts: Sequence[Record] = field(default_factory=list)
    scorer: Scorer | None = None
    scorer_name: str = ""

    def judge(self, method: str) -> Scorer:
        """The scorer of new replies. Raises ConfigError without one, or where it leaves out an objective."""
        if self.scorer is None:
            raise ConfigError(
                f"{method} lets the policy answer while it trains, and somebody must judge; give --scorer "
                "(lab, the folder of a reward model, judge:..., or module:Class)"
            )
        filled = {objective.name for objective in self.scorer.objectives}
        missing = [objective.name for objective in self.objectives if objective.name not in filled]
        if missing and filled:
            raise ConfigError(f"the scorer does not score {', '.join(missing)}; choose --objectives that it scores")
        return self.scorer

    def questions(self) -> list[Record]:
        """The prompts to answer, each once: `prompts`, or those of the training records."""
        return without_replies(self.prompts or self.train)


@dataclass(frozen=True)
class Facts:
    """What `pluralign methods` shows: the paper, the feedback a method needs, what its policy can be asked, its cost."""

    paper: str
    feedback: str
    condition: str
    models: str
    passes: str


class Method(Protocol):
    """Fields are hyper-parameters and flags; `train` reads like the paper's procedure."""

    facts: ClassVar[Facts]

    def new_steering(self, objectives: Sequence[Objective]) -> Steering:
        """The steering that this method trains."""

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy | RewardModel:
        """Train the policy in place and return it, or a reward model. Stages of `run` that are finished are skipped."""


def as_policy(trained: Policy | RewardModel) -> Policy:
    """What a method trained, where a policy is needed. Raises ConfigError for a scorer."""
    if isinstance(trained, RewardModel):
        raise ConfigError("this method trains a scorer, which cannot be asked for replies; choose another method")
    return trained


def validation_groups(groups: Sequence[Group], limit: int = 256) -> list[Group]:
    """The first groups of a validation set: enough to choose a checkpoint, cheap enough to judge often."""
    return list(groups[:limit])

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
from pluralign.policy import Policy
from pluralign.steering.contract import Steering
from pluralign.training.run import Run


@dataclass(frozen=True)
class TrainingData:
    """What a method is given. `validation` records choose the checkpoint where there are any."""

    train: Sequence[Record]
    objectives: tuple[Objective, ...]
    validation: Sequence[Record] = field(default_factory=list)


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

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """Train the policy in place and return it. Stages of `run` that are finished are skipped."""


def validation_groups(groups: Sequence[Group], limit: int = 256) -> list[Group]:
    """The first groups of a validation set: enough to choose a checkpoint, cheap enough to judge often."""
    return list(groups[:limit])

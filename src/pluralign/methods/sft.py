"""SFT: supervised fine-tuning, the start of every other method.

    L = − log π_θ(y|x) / |y|

Source: the CMPO thesis, step 1 (Manyika 2024; methods.md A1): all prompt-response pairs, 2 epochs, best validation
loss. Differs from the thesis: 1. LoRA on attention by default (`steering.shared_where=None` trains everything);
2. the loss is averaged per response, not per token of the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from pluralign.data.evidence import direction_signs, score_row
from pluralign.data.group import Group
from pluralign.data.objective import Objective
from pluralign.data.record import Record, Response
from pluralign.errors import ConfigError, DataError
from pluralign.losses.sft import SFT
from pluralign.methods.contract import Facts, TrainingData, validation_groups
from pluralign.policy import Policy
from pluralign.steering.none import NoSteering
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run
from pluralign.training.source import GroupSource


@dataclass(frozen=True, kw_only=True)
class Sft:
    """Imitate the responses of the data."""

    facts: ClassVar[Facts] = Facts("", "demonstrations", "nothing", "1", "1")

    loss: SFT = field(default_factory=SFT)
    """token or sequence mean"""
    optim: Optim = field(default_factory=lambda: Optim(lr=2e-4, steps=500, batch_size=8))
    """the optimisation; steps are ignored if `epochs` is set"""
    epochs: float | None = 2.0
    """passes over the data (thesis: 2); None uses optim.steps"""
    best_share: float = 1.0
    """share of each prompt's replies to imitate, the best by summed scores first (each as a part of its range); 1 takes all"""
    steering: NoSteering = field(default_factory=NoSteering)
    """the adapter that is trained"""

    def __post_init__(self) -> None:
        if not 0 < self.best_share <= 1:
            raise ConfigError(f"best_share must be in (0, 1], got {self.best_share}")
        if self.epochs is not None and not 0 < self.epochs < float("inf"):
            raise ConfigError(f"epochs must be a finite number above 0 (or None), got {self.epochs}")

    def new_steering(self, objectives: Sequence[Objective]) -> NoSteering:
        """No steering."""
        return self.steering

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """Fit every kept response; the checkpoint of the lowest validation loss stays."""
        groups = [group for record in data.train for group in self._groups(record, data)]
        if not groups:
            raise DataError("sft needs responses to imitate, and the data has none; give records with responses")
        source = GroupSource(groups, self.optim.batch_size, run.seed)
        held_out = [group for record in data.validation for group in self._groups(record, data)]
        fit(policy, source, self.loss, run.stage("sft"), self._optim(source), validation_groups(held_out))
        return policy

    def _optim(self, source: GroupSource) -> Optim:
        from dataclasses import replace

        return self.optim if self.epochs is None else replace(self.optim, steps=source.steps(self.epochs))

    def _groups(self, record: Record, data: TrainingData) -> Iterator[Group]:
        replies = sorted(record.responses, key=lambda reply: -_worth(reply, data.objectives))
        kept = replies[: max(1, round(self.best_share * len(replies)))] if replies else []
        for reply in kept:
            if reply.text and not reply.extra.get("corrupted"):
                yield Group.of(record, [reply])


def _worth(reply: Response, objectives: Sequence[Objective]) -> float:
    """The sum of the scores in units of their ranges, more is better; what is missing counts nothing."""
    ranges = np.array([objective.high - objective.low for objective in objectives])
    return float(np.nansum(score_row(reply, objectives) * direction_signs(objectives) / ranges))

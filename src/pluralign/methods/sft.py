"""SFT: supervised fine-tuning, the start of every other method; asked for weights, if the policy can be.

    L = − log π_θ(y|x, λ) / |y|

Without steering (the default), λ is nothing. A steerable policy learns what weights mean from replies that were drawn
under some, or from the best reply of each prompt under weights drawn here (`data/conversions/imitation.py`).

Source: the CMPO thesis, step 1 (Manyika 2024; methods.md A1): all prompt-response pairs, 2 epochs, best validation
loss. Differs from the thesis: 1. LoRA on attention by default (`steering.shared_where=None` trains everything);
2. the loss is averaged per response, not per token of the batch; 3. with a steerable policy, weights are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import numpy as np

from pluralign.data import simplex
from pluralign.data.conversions import imitation
from pluralign.data.group import Group
from pluralign.data.objective import Objective
from pluralign.data.record import Record
from pluralign.errors import ConfigError, DataError
from pluralign.losses.sft import SFT
from pluralign.methods.contract import Facts, TrainingData, validation_groups
from pluralign.policy import Policy
from pluralign.steering.none import NoSteering
from pluralign.steering.plural import PluralSteering
from pluralign.steering.prompt.weights import PromptWeights
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run
from pluralign.training.source import GroupSource


@dataclass(frozen=True, kw_only=True)
class Sft:
    """Imitate the responses of the data."""

    facts: ClassVar[Facts] = Facts("", "demonstrations", "nothing, or weights", "1", "1")

    loss: SFT = field(default_factory=SFT)
    """token or sequence mean"""
    optim: Optim = field(default_factory=lambda: Optim(lr=2e-4, steps=500, batch_size=8))
    """the optimisation; steps are ignored if `epochs` is set"""
    epochs: float | None = 2.0
    """passes over the data (thesis: 2); none uses optim.steps"""
    conditions: Literal["auto", "recorded", "best"] = "auto"
    """what a steerable policy is asked for: recorded, what each reply was drawn under (nothing where the data does not say); best, drawn weights, with the best reply under them; auto takes recorded where some reply has a condition"""
    weights_per_prompt: int = 8
    """weights drawn for each prompt (conditions=best only)"""
    best_share: float | None = None
    """share of a prompt's replies to imitate under one condition, best first by weighted scores (by their plain sum without weights), as parts of their ranges; none takes all, or only the best under drawn weights"""
    steering: NoSteering | PromptWeights | PluralSteering = field(default_factory=NoSteering)
    """none; weights written into the prompt; or plural layers"""

    def __post_init__(self) -> None:
        if self.best_share is not None and not 0 < self.best_share <= 1:
            raise ConfigError(f"best_share must be in (0, 1], got {self.best_share}")
        if self.epochs is not None and not 0 < self.epochs < float("inf"):
            raise ConfigError(f"epochs must be a finite number above 0 (or None), got {self.epochs}")
        if self.weights_per_prompt < 1:
            raise ConfigError(f"weights_per_prompt must be at least 1, got {self.weights_per_prompt}")
        if self.conditions != "auto" and not self.steering.accepts:
            raise ConfigError(
                f"conditions={self.conditions} needs a policy that can be asked; add steering:prompt-weights (or "
                "steering:plural-steering) at the end of the command"
            )

    def new_steering(self, objectives: Sequence[Objective]) -> NoSteering | PromptWeights | PluralSteering:
        """None, prompt or plural, as chosen."""
        return self.steering

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """Fit every kept response; the checkpoint of the lowest validation loss stays."""
        recorded = self._is_recorded(data.train)
        groups = self._groups(data.train, data, recorded, run.seed)
        if not groups:
            raise DataError("sft needs responses to imitate, and the data has none; give records with responses")
        self._check_conditions(policy, groups, recorded)
        source = GroupSource(groups, self.optim.batch_size, run.seed)
        held_out = validation_groups(self._groups(data.validation, data, recorded, run.seed))
        fit(policy, source, self.loss, run.stage("sft"), self._optim(source), held_out)
        return policy

    def _optim(self, source: GroupSource) -> Optim:
        return self.optim if self.epochs is None else replace(self.optim, steps=source.steps(self.epochs))

    def _is_recorded(self, records: Sequence[Record]) -> bool:
        said = any(reply.condition is not None for record in records for reply in record.responses)
        return self.conditions == "recorded" or (self.conditions == "auto" and said)

    def _check_conditions(self, policy: Policy, groups: Sequence[Group], recorded: bool) -> None:
        """DataError where there is nothing to ask for, ConditionError for what the steering cannot read."""
        asked = dict.fromkeys(group.conditions[0] for group in groups)
        if self.steering.accepts and not recorded and self.best_share == 1:
            raise ConfigError(
                "best_share 1 would imitate every reply under all weights alike; give less, or leave it out"
            )
        if self.steering.accepts and not any(asked):
            raise DataError(
                "a steerable policy learns from replies that carry a condition, or from prompts with two replies "
                "scored on the same objectives, and the data has neither; score it, or train without steering"
            )
        for condition in asked:
            policy.steering.write((), condition)
            policy.coefficients([condition])

    def _groups(self, records: Sequence[Record], data: TrainingData, recorded: bool, seed: int) -> list[Group]:
        """One for each reply and each condition to imitate it under.

        Weights are drawn over the objectives that all replies of a prompt are scored on. Where there are none, or only
        one reply, nothing tells the weights apart: what the prompt has is imitated unasked.
        """
        groups: list[Group] = []
        for number, record in enumerate(records):
            labelled = imitation.comparable(record, data.objectives)
            if self.steering.accepts and recorded:
                groups += imitation.recorded(record, data.objectives, self.best_share or 1.0)
            elif self.steering.accepts and labelled.any():
                rng = np.random.default_rng([seed, number])
                weights = simplex.draw(rng, self.weights_per_prompt, len(data.objectives), labelled)
                groups += imitation.best(record, data.objectives, weights, self.best_share or 0.0)
            else:
                groups += imitation.unasked(record, data.objectives, self.best_share or 1.0)
        return groups

"""DPO on one objective: the baseline that CMPO replaces, one ordinary model per objective.

    L = − log σ(β [ρ(y_w) − ρ(y_l)]),   ρ(y) = log π_θ(y|x) − log π_ref(y|x)

Source: Rafailov et al. 2023, arXiv 2305.18290 (eq. 7); with `loss=CDPO` the thesis' baseline, one cDPO model per
attribute (Manyika 2024; methods.md A1, B2). Differs from the paper: LoRA on attention instead of full training
(`steering.shared_where=None` trains everything).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from pluralign.data.conversions.explode import explode
from pluralign.data.conversions.one_hot import one_hot
from pluralign.data.group import Group
from pluralign.data.objective import Objective, known, names
from pluralign.data.record import Record
from pluralign.errors import ConfigError, DataError
from pluralign.losses.dpo import CDPO, DPO
from pluralign.methods.contract import Facts, TrainingData, validation_groups
from pluralign.policy import Policy
from pluralign.steering.none import NoSteering
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run
from pluralign.training.source import GroupSource


@dataclass(frozen=True, kw_only=True)
class Dpo:
    """One model for one objective."""

    facts: ClassVar[Facts] = Facts("arXiv 2305.18290", "comparisons or ratings of one objective", "nothing", "1", "1")

    objective: str = ""
    """the objective to prefer by; may stay empty where the data has only one"""
    loss: DPO | CDPO = field(default_factory=DPO)
    """DPO (β = 0.1) or cDPO"""
    optim: Optim = field(default_factory=lambda: Optim(lr=1e-4, steps=250, batch_size=32))
    """the optimisation (batch_size in pairs)"""
    steering: NoSteering = field(default_factory=NoSteering)
    """the adapter that is trained"""

    def new_steering(self, objectives: Sequence[Objective]) -> NoSteering:
        """No steering."""
        return self.steering

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """Fit all pairs that the objective tells apart."""
        objective = self._objective(data.objectives)
        groups = _pairs(data.train, objective)
        if not groups:
            raise DataError(f"no pair of replies differs on {objective.name!r}; check its scores or comparisons")
        source = GroupSource(groups, self.optim.batch_size, run.seed)
        held_out = validation_groups(_pairs(data.validation, objective))
        fit(policy, source, self.loss, run.stage("dpo"), self.optim, held_out)
        return policy

    def _objective(self, objectives: Sequence[Objective]) -> Objective:
        if not self.objective and len(objectives) > 1:
            raise ConfigError(
                f"dpo trains on one objective; choose with --objective from {', '.join(names(objectives))}"
            )
        name = self.objective or objectives[0].name
        known([name], objectives)
        return next(objective for objective in objectives if objective.name == name)


def _pairs(records: Sequence[Record], objective: Objective) -> list[Group]:
    groups = [group for record in records for whole in one_hot(record, [objective]) for group in explode(whole)]
    return [replace(group, conditions=(None,)) for group in groups]

"""No steering: an ordinary fine-tuned model, which answers one way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from pluralign.data.condition import Condition
from pluralign.data.objective import Objective
from pluralign.errors import ConditionError
from pluralign.steering.adapter import AdapterSteering


@dataclass
class NoSteering(AdapterSteering):
    """The model answers one way; every condition is refused."""

    kind: ClassVar[str] = "none"

    def translate(self, condition: Condition, objectives: Sequence[Objective]) -> Condition:
        """Always raises ConditionError."""
        raise ConditionError(f"this policy is not steerable, so it cannot be asked for {condition}; train cmpo instead")

    def coefficients(self, conditions: Sequence[Condition | None], objectives: Sequence[Objective]) -> Tensor:
        """[R, K + 2]: the adapter and the base, whatever the row; conditions raise ConditionError."""
        for condition in conditions:
            if condition is not None:
                self.translate(condition, objectives)
        return AdapterSteering.coefficients(self, conditions, objectives)

"""Prompt steering by weights in words: "helpful: 0.70, funny: 0.30" before the dialogue (CLP's prompting baseline).

Names and two decimals are fixed (methods.md A2, CHOICE).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from pluralign.data.condition import Condition, Weights, vector
from pluralign.data.objective import Objective, names
from pluralign.errors import ConditionError
from pluralign.steering.text import TextSteering


@dataclass
class PromptWeights(TextSteering):
    """Weights written into the prompt; a strength is guidance."""

    kind: ClassVar[str] = "prompt_weights"
    accepts: ClassVar[tuple[type, ...]] = (Weights,)

    def translate(self, condition: Condition, objectives: Sequence[Objective]) -> Weights:
        """Weights as they are; other kinds raise ConditionError."""
        if not isinstance(condition, Weights):
            raise ConditionError(f"this policy reads weights in its prompt, not {condition}")
        return condition

    def words(self, condition: Condition) -> str:
        """ "name: 0.70, ..." for every objective, in the policy's order."""
        assert isinstance(condition, Weights), "translate first"
        weights = vector(replace(condition, strength=1.0), self._objectives)
        pairs = zip(names(self._objectives), weights, strict=True)
        return ", ".join(f"{name}: {weight:.2f}" for name, weight in pairs)

"""Prompt steering by poles: "helpful high, funny low" before the dialogue, the ends that a person chose and no others.

The prompted form of personalised soups (P-MORL; Jang et al. 2023, arXiv 2310.11564; methods.md A5): one model reads which
poles are asked for. As when poles are merged in equal shares (`steering/poles.py`), the sizes of the weights do not
count: a weight above 0 asks for the high end, one below 0 for the low end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from pluralign.data.condition import Condition, Weights, from_vector, vector
from pluralign.data.objective import Objective, names
from pluralign.errors import ConditionError, ConfigError
from pluralign.steering.text import TextSteering


@dataclass
class PromptPoles(TextSteering):
    """The chosen poles in words; a strength is guidance."""

    kind: ClassVar[str] = "prompt_poles"
    accepts: ClassVar[tuple[type, ...]] = (Weights,)

    high: str = "{} high"
    """the words of a high pole, {} the objective (paper: a sentence per pole)"""
    low: str = "{} low"
    """the words of a low pole"""

    def __post_init__(self) -> None:
        if self.high.count("{}") != 1 or self.low.count("{}") != 1 or self.high == self.low:
            raise ConfigError(f"high and low are different words with one {{}}, got {self.high!r} and {self.low!r}")

    def translate(self, condition: Condition, objectives: Sequence[Objective]) -> Weights:
        """Equal sizes that sum to 1, signs and strength kept. ConditionError for other kinds and weights of 0."""
        if not isinstance(condition, Weights):
            raise ConditionError(
                f"this policy reads which ends are asked for, e.g. '{objectives[0].name}=1', not {condition}"
            )
        signs = np.sign(vector(replace(condition, strength=1.0), objectives))
        if not signs.any():
            raise ConditionError("weights that are all 0 ask for no end of any objective; give at least one")
        return replace(from_vector(signs / np.abs(signs).sum(), objectives), strength=condition.strength)

    def words(self, condition: Condition) -> str:
        """ "helpful high, funny low", in the policy's order."""
        assert isinstance(condition, Weights), "translate first"
        weights = vector(replace(condition, strength=1.0), self._objectives)
        told = zip(names(self._objectives), weights, strict=True)
        return ", ".join((self.high if weight > 0 else self.low).format(name) for name, weight in told if weight)

"""Contrastive steering: what an expert says more than an amateur, where the expert finds it plausible.

    logits    (1 + β) log p_expert − β log p_amateur                       O'Brien & Lewis 2023
    ratio     log p_expert − log p_amateur                                 Li et al. 2022, arXiv 2210.15097
    both only where p_expert ≥ κ max p_expert (`plausible.py`), −∞ elsewhere

The expert is the model as asked: a change per objective, mixed by the weights. The amateur is its reference, the model
asked for the opposite (−λ), for weights of its own, or another model beside it (the policy's helper). Where only heads
are plural and the amateur is the reference, `logits` is the strength 1 + β: contrast with oneself is extrapolation.

Source: methods.md A18. β = 0 is the expert; a constant added to any model's logits changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from torch import Tensor

from pluralign.data.condition import Condition, Weights, parse
from pluralign.errors import ConfigError, ModelError
from pluralign.steering.plausible import check_plausibility, plausible
from pluralign.steering.weighted import WeightedSteering

NAMED = ("reference", "opposite", "model")


@dataclass
class ContrastiveSteering(WeightedSteering):
    """A change per objective, mixed by the asked weights, and what it is held against."""

    kind: ClassVar[str] = "contrastive"

    form: Literal["logits", "ratio"] = "logits"
    """logits: the expert's, and β times the difference; ratio: the difference alone"""
    beta: float = 0.5
    """β of the logit form, from 0 (O'Brien & Lewis: .5)"""
    plausibility: float = 0.1
    """κ, the share of the likeliest token's probability below which a token is left out (Li et al.: .1; 0 keeps all)"""
    amateur: str = "reference"
    """reference; opposite (the negative of what is asked); model (the policy's helper); or weights such as brief=1"""

    def __post_init__(self) -> None:
        check_plausibility(self.plausibility)
        if self.form not in ("logits", "ratio"):
            raise ConfigError(f"form is logits or ratio, got {self.form!r}")
        if not 0 <= self.beta < float("inf"):
            raise ConfigError(f"beta must be a finite number from 0, got {self.beta}")
        if self.amateur not in NAMED and not isinstance(parse(self.amateur), Weights):
            raise ConfigError(f"amateur is {', '.join(NAMED)}, or weights such as 'brief=1'; got {self.amateur!r}")

    def members(self, condition: Condition | None) -> list[tuple[Condition | None, float]]:
        """The expert, and the amateur unless it is another model."""
        expert, amateur = self._shares()
        if condition is None or not amateur:
            return [(condition, 1.0)]
        weights = self.translate(condition, self._objectives)
        if self.amateur == "model":
            return [(weights, expert)]
        return [(weights, expert), (self._other(weights), amateur)]

    def helpers(self, condition: Condition | None) -> list[tuple[int, Condition | None, float]]:
        """The amateur, where it is another model."""
        amateur = self._shares()[1]
        return [(0, None, amateur)] if condition is not None and amateur and self.amateur == "model" else []

    def _shares(self) -> tuple[float, float]:
        return (1.0 + self.beta, -self.beta) if self.form == "logits" else (1.0, -1.0)

    def _other(self, weights: Weights) -> Weights | None:
        if self.amateur == "reference":
            return None
        if self.amateur == "opposite":
            return replace(weights, values={name: -value for name, value in weights.values.items()})
        found = parse(self.amateur)
        assert isinstance(found, Weights), "checked when it was made"
        return found

    def combine(self, logprobs: Tensor, shares: Tensor, owners: Tensor, num: int) -> Tensor:
        """The sum of log-probabilities, in what the expert finds plausible."""
        return plausible(super().combine(logprobs, shares, owners, num), logprobs, owners, self.plausibility)

    def check_merge(self, condition: Condition | None) -> None:
        """ModelError where an amateur is held against the expert."""
        if condition is not None and self._shares()[1]:
            raise ModelError("a contrast of two distributions is in no single model's weights; set beta to 0 to merge the expert alone")  # fmt: skip

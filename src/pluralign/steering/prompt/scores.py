"""Prompt steering by rewards as numbers: "helpful 0.7, funny -1.2" before the dialogue (Rewards-in-Context).

    z_i = (r_i − mean_i) / std_i        what is written, rounded; r signed so that more is better

A trade-off w over m objectives asks for rewards between two quantiles [lo_i, hi_i] of the training data:

    linf      hi_i for the largest w_i (the first of equals), else lo_i + min(m w_i, 1) (hi_i − lo_i)
    linear    lo_i + w_i (hi_i − lo_i)
    l2        lo_i + w_i / ‖w‖₂ (hi_i − lo_i)

Source: Yang et al. 2024, arXiv 2402.10207 (methods.md A12; the rounding: J 5). A tagged reward reads
"<rm1_score> 0.7 <rm2_score> -1.2", as the paper writes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from pluralign.data.condition import Condition, Targets, Weights, vector
from pluralign.data.evidence import Array, direction_signs
from pluralign.data.objective import Objective, known, names
from pluralign.errors import ConditionError, ConfigError, DataError
from pluralign.steering.text import TextSteering

Mapping = Literal["linf", "linear", "l2"]


@dataclass
class PromptScores(TextSteering):
    """Standardised rewards written into the prompt; a strength is guidance."""

    kind: ClassVar[str] = "prompt_scores"
    accepts: ClassVar[tuple[type, ...]] = (Weights, Targets)

    mapping: Mapping = "linf"
    """how a trade-off becomes wanted rewards: linf (the paper's), linear or l2"""
    quantiles: tuple[float, float] = (0.0, 1.0)
    """of the training data, the ends of a range: (0, 1) are the extremes (the paper), which are rarely reached: (.01, .99); (.5, 1) asks for no less than the usual where little weight lies"""
    form: Literal["named", "tagged"] = "named"
    """named: "helpful 0.7, funny -1.2"; tagged: "<rm1_score> 0.7 <rm2_score> -1.2" (the paper)"""
    decimals: int = 1
    """digits after the point of a written reward (the paper: 1)"""
    padded: bool = False
    """write the sign of rewards above 0 too: then all have one width, and stand at the same places (small models bind by place)"""
    mean: tuple[float, ...] = ()
    """of each objective in the training data, signed so that more is better; found by training"""
    std: tuple[float, ...] = ()
    """standard deviations beside the means"""
    low: tuple[float, ...] = ()
    """lower ends of the ranges, in standard deviations from the mean"""
    high: tuple[float, ...] = ()
    """upper ends"""

    def __post_init__(self) -> None:
        allowed = {
            "mapping": ("linf", "linear", "l2"),
            "form": ("named", "tagged"),
        }
        for name, words in allowed.items():
            if getattr(self, name) not in words:
                raise ConfigError(f"{name} is {', '.join(words)}, got {getattr(self, name)!r}")
        if not 0 <= self.decimals <= 6:
            raise ConfigError(f"decimals is 0 to 6, got {self.decimals}")
        if not 0 <= self.quantiles[0] < self.quantiles[1] <= 1:
            raise ConfigError(f"quantiles are two numbers from 0 to 1, the lower one first; got {self.quantiles}")
        for name in ("quantiles", "mean", "std", "low", "high"):
            setattr(self, name, tuple(float(value) for value in getattr(self, name)))

    def fit(self, scores: Array, objectives: Sequence[Objective]) -> None:
        """Learn mean, deviation and range from scores [N, K] in the objectives' units. DataError where one never varies."""
        signed = scores * direction_signs(objectives)
        mean, std = signed.mean(0), signed.std(0)
        flat = [name for name, spread in zip(names(objectives), std, strict=True) if not spread > 1e-9]
        if flat:
            raise DataError(f"every reply has the same score on {', '.join(flat)}, so that no reward can be asked for")
        low, high = np.quantile((signed - mean) / std, self.quantiles, axis=0)
        self.mean, self.std = tuple(mean.tolist()), tuple(std.tolist())
        self.low, self.high = tuple(low.tolist()), tuple(high.tolist())

    def targets(self, rewards: Array) -> Targets:
        """Standardised rewards [K] as scores in the objectives' units, inside their ranges."""
        self._check_fitted()
        scores = (np.asarray(rewards) * self.std + self.mean) * direction_signs(self._objectives)
        pairs = zip(self._objectives, scores.tolist(), strict=True)
        return Targets({each.name: min(max(score, each.low), each.high) for each, score in pairs})

    def translate(self, condition: Condition, objectives: Sequence[Objective]) -> Targets:
        """Targets as they are, weights by the map; ConditionError for words."""
        if isinstance(condition, Targets):
            known(condition.values, objectives)
            return condition
        if not isinstance(condition, Weights):
            raise ConditionError(
                f"this policy reads rewards in its prompt, e.g. '{objectives[0].name}:{objectives[0].high:g}', or "
                f"weights, e.g. '{objectives[0].name}=1', not {condition}"
            )
        self._check_fitted()
        weights = vector(replace(condition, strength=1.0), objectives)
        wanted = wanted_rewards(weights, np.array(self.low), np.array(self.high), self.mapping)
        return replace(self.targets(wanted), strength=condition.strength)

    def words(self, condition: Condition) -> str:
        """Every objective's reward in the policy's order; one that is not asked for stands at its mean, 0."""
        assert isinstance(condition, Targets), "translate first"
        self._check_fitted()
        signs = direction_signs(self._objectives)
        facts = zip(names(self._objectives), signs, self.mean, self.std, strict=True)
        rewards = [
            (condition.values[name] * sign - mean) / std if name in condition.values else 0.0
            for name, sign, mean, std in facts
        ]
        sign = "+" if self.padded else "-"
        shown = [f"{round(reward, self.decimals) + 0.0:{sign}.{self.decimals}f}" for reward in rewards]
        if self.form == "tagged":
            return " ".join(f"<rm{place}_score> {reward}" for place, reward in enumerate(shown, 1))
        return ", ".join(f"{name} {reward}" for name, reward in zip(names(self._objectives), shown, strict=True))

    def _check_fitted(self) -> None:
        if not self.mean:
            raise ConditionError(
                "this policy has not learnt the range of rewards yet; train it (ric) before it is asked"
            )


def wanted_rewards(weights: Array, low: Array, high: Array, mapping: Mapping = "linf") -> Array:
    """The rewards [K] that a trade-off [K] asks for. ConditionError for weights of 0 under l2."""
    span = high - low
    if mapping == "linear":
        return low + weights * span
    if mapping == "l2":
        norm = float(np.linalg.norm(weights))
        if not norm:
            raise ConditionError("weights that are all 0 have no direction; give at least one")
        return low + weights / norm * span
    wanted: Array = low + np.minimum(len(weights) * weights, 1.0) * span
    best = int(np.argmax(weights))
    wanted[best] = high[best]
    return wanted

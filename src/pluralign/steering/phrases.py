"""What steering by feedback shares: phrases, what each is worth, and how a trade-off finds the one that serves it.

    f(λ) = argmax_f λ · v(f),     v(f) [K]: the mean scores of the training replies that the phrase f was said of

Weights ask for the phrase whose replies served them best, so that what is asked for together has been seen together;
targets ask for the phrase whose replies came nearest on the objectives that are named. Words are taken as they are.
Before training no phrase has a worth: weights then ask for the best level of every objective that counts for at least
its equal share.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from pluralign.data.condition import Condition, Feedback, Targets, Weights, vector
from pluralign.data.evidence import Array, parts
from pluralign.data.objective import Objective, known, names
from pluralign.errors import ConditionError, ConfigError
from pluralign.steering.text import TextSteering

BEST = 0


@dataclass
class PhraseSteering(TextSteering, ABC):
    """Phrases of feedback, in whatever form a kind writes them."""

    accepts: ClassVar[tuple[type, ...]] = (Weights, Targets, Feedback)

    phrases: tuple[str, ...] = ()
    """filled by training: the phrases that stand for trade-offs"""
    worth: tuple[float, ...] = ()
    """filled by training: a number per phrase and objective, phrase by phrase; mean scores as parts of their ranges, more is better"""
    measured: bool = True
    """filled by training: whether the worth of a phrase is a mean of scores, so that targets can be met, or only a direction"""

    def __post_init__(self) -> None:
        self.phrases, self.worth = tuple(self.phrases), tuple(map(float, self.worth))
        if len(self.worth) % max(len(self.phrases), 1):
            raise ConfigError(f"{len(self.worth)} numbers of worth do not belong to {len(self.phrases)} phrases")

    @property
    @abstractmethod
    def num_levels(self) -> int:
        """How many levels of an objective there are words for, from the best (0) to the worst."""

    @abstractmethod
    def phrase(self, said: Sequence[tuple[str, int]]) -> str:
        """The phrase that says these levels of these axes (an objective's name, or "" for the whole)."""

    def learn(self, phrases: Sequence[str], values: Array, measured: bool = True) -> None:
        """What training found: phrases and their worth [phrases, K]."""
        self.phrases, self.measured = tuple(phrases), measured
        self.worth = tuple(round(float(value), 5) for value in np.ravel(values))

    def translate(self, condition: Condition, objectives: Sequence[Objective]) -> Feedback:
        """The phrase of the condition, with its strength; ConditionError for targets that no phrase is known to meet."""
        if isinstance(condition, Feedback):
            return replace(condition, text=self.spoken(condition.text))
        if not self.phrases:
            return Feedback(self._untrained(condition, objectives), condition.strength)
        values = np.array(self.worth).reshape(len(self.phrases), len(objectives))
        if isinstance(condition, Weights):
            best = int((values @ vector(replace(condition, strength=1.0), objectives)).argmax())
        else:
            best = int(self._distances(values, condition, objectives).argmin())
        return Feedback(self.phrases[best], condition.strength)

    def spoken(self, text: str) -> str:
        """A person's words: a known phrase whatever its capitals, or what they say."""
        same = (phrase for phrase in self.phrases if phrase.casefold() == text.strip().casefold())
        return next(same, text)

    def words(self, condition: Condition) -> str:
        """The phrase."""
        assert isinstance(condition, Feedback), "translate first"
        return condition.text

    def _distances(self, values: Array, targets: Targets, objectives: Sequence[Objective]) -> Array:
        """Of every phrase from the targets, in parts of the ranges, over the objectives that are named."""
        if not self.measured:
            raise ConditionError(
                f"this policy knows what is better, not scores: ask with weights or words, not {targets}"
            )
        known(targets.values, objectives)
        asked = np.array([targets.values.get(name, np.nan) for name in names(objectives)])
        wished = parts(asked[None], objectives)
        distances: Array = np.nansum((values - wished) ** 2, axis=1)
        return distances

    def _untrained(self, condition: Weights | Targets, objectives: Sequence[Objective]) -> str:
        if isinstance(condition, Targets):
            raise ConditionError(
                "an untrained policy does not know which words earn a score; ask with weights or words"
            )
        weights = vector(replace(condition, strength=1.0), objectives)
        share = min(1 / len(objectives), float(weights.max())) - 1e-9
        return self.phrase([(name, BEST) for name, w in zip(names(objectives), weights, strict=True) if w >= share])

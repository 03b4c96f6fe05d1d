"""Prompt steering by rating levels: "helpfulness:4,toxicity:0,humor:2" before the dialogue (SteerLM, methods.md A9).

Fixed order, whole numbers, no spaces, what is not asked for left out (or `blank`); a 'lower' objective is not turned round. Ratings
are asked for as they are (Targets, rounded to levels). A trade-off (Weights) must become ratings that a reply can have:
objectives conflict, and a model that is asked for a combination it has never seen obeys none of it (methods.md A25).

    seen     of the rating vectors v of the training data, the one of the largest Σ_j λ_j v_j + τ log n(v)     (default)
    share    v_j = round(top level · λ_j / max λ), seen or not: high where it is wanted, 0 elsewhere

Vectors v count in parts of their levels, more is better, a missing rating as the mean; n(v) is how often v was seen, so
that a vector that hardly anybody has wins only by what it is better at (τ = `rarity`; 0 leaves ties to the frequent).
On the lab's validation prompts SteerLM gains 1.85 under `seen`, at 4.5 nats, and 1.38 under `share`, at 7.8.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from pluralign.data.condition import Condition, Targets, Weights, vector
from pluralign.data.conversions.rating_strings import level_of, linearise, parse, score_of
from pluralign.data.evidence import Array, direction_signs
from pluralign.data.objective import Objective, known, names
from pluralign.errors import ConditionError, ConfigError
from pluralign.steering.text import TextSteering

MOST = 512


@dataclass
class PromptLevels(TextSteering):
    """Ratings written into the prompt; a strength is guidance. Raises ConfigError for a setting that cannot act."""

    kind: ClassVar[str] = "prompt_levels"
    accepts: ClassVar[tuple[type, ...]] = (Weights, Targets)

    levels: int = 5
    """whole numbers 0 .. levels - 1 that every range is stretched over (SteerLM: 5); 0 takes the data's own units"""
    form: Literal["ratings", "tags", "goals"] = "ratings"
    """ratings: "helpful:4,brief:1" (SteerLM); tags: "<helpful: 4> <brief: 1>" (CPO); goals: a sentence (RAD)"""
    rule: Literal["seen", "share"] = "seen"
    """how a trade-off becomes ratings: the best vector that training has seen, or in proportion to the weights"""
    rarity: float = 0.0
    """τ, what a vector's log frequency counts (rule seen only), in parts of a rating's range"""
    unweighted: Literal["asked", "omitted"] = "asked"
    """ratings of objectives without weight: asked for like all others, or left out of the string"""
    blank: str = ""
    """what stands for a rating that is not asked for, e.g. "-": every string then has the same places (small models bind by place); empty: such an objective is left out"""
    seen: tuple[str, ...] = ()
    """the rating strings that trade-offs choose from, the frequent first; none: those of the training data (at most 512)"""
    counts: tuple[int, ...] = ()
    """how often each of them was seen; none: once each"""

    def __post_init__(self) -> None:
        self.seen, self.counts = tuple(self.seen), tuple(self.counts)
        if self.levels == 1 or self.levels < 0:
            raise ConfigError(f"levels is 0 (whole numbers of the data's units) or at least 2, got {self.levels}")
        if not 0 <= self.rarity < math.inf:
            raise ConfigError(f"rarity is a finite number from 0, got {self.rarity}")
        if any(letter.isdigit() for letter in self.blank):
            raise ConfigError(
                f"blank stands for no rating and has no digits, which would be read as one; got {self.blank!r}"
            )
        if self.rarity and self.rule != "seen":
            raise ConfigError("rarity acts on rule=seen only; leave it at 0, or choose that rule")
        if self.counts and (len(self.counts) != len(self.seen) or min(self.counts) < 1):
            raise ConfigError(f"counts has a number above 0 for each of the {len(self.seen)} strings in seen")

    def learn(self, ratings: Iterable[Targets]) -> None:
        """Keep the most frequent of the ratings to choose from, unless `seen` was given."""
        if not self.seen:
            found = Counter(linearise(self.level_values(asked)) for asked in ratings).most_common(MOST)
            self.seen, self.counts = tuple(text for text, _ in found), tuple(number for _, number in found)

    def level_values(self, ratings: Targets) -> dict[str, int]:
        """The levels of these ratings, in the policy's order."""
        by_name = self._by_name(self._objectives)
        known(ratings.values, self._objectives)
        return {name: level_of(ratings.values[name], by_name[name], self.levels) for name in by_name if name in ratings.values}  # fmt: skip

    def translate(self, condition: Condition, objectives: Sequence[Objective]) -> Targets:
        """Ratings on the levels, in the objectives' units. Raises ConditionError for words, and for no weight above 0."""
        if isinstance(condition, Weights):
            chosen = self._served(condition, objectives)
        elif isinstance(condition, Targets):
            chosen = self.level_values(condition)
        else:
            example = ",".join(f"{each.name}:{each.high:g}" for each in objectives[:2])
            raise ConditionError(f"this policy reads ratings such as '{example}', or weights, not {condition}")
        by_name = self._by_name(objectives)
        ratings = {name: score_of(level, by_name[name], self.levels) for name, level in chosen.items()}
        return Targets(ratings, condition.strength)

    def words(self, condition: Condition) -> str:
        """The string of the ratings."""
        assert isinstance(condition, Targets), "translate first"
        levels = self.level_values(condition)
        found = {
            name: str(levels.get(name, self.blank)) for name in names(self._objectives) if name in levels or self.blank
        }
        if self.form == "ratings":
            return ",".join(f"{name}:{level}" for name, level in found.items())
        if self.form == "tags":
            return " ".join(f"<{name}: {level}>" for name, level in found.items())
        scores = ", ".join(f"{name}: {level}" for name, level in found.items())
        return f"Write a reply that earns exactly these scores: {scores}."

    def _served(self, condition: Weights, objectives: Sequence[Objective]) -> dict[str, int]:
        """The levels to ask for under weights."""
        weights = vector(Weights(condition.values), objectives)
        if not (weights > 0).any():
            raise ConditionError(f"no weight above 0 in {condition}; say what counts, e.g. '{objectives[0].name}=1'")
        if self.rule == "seen" and self.seen:
            found = self._best(weights, objectives)
        else:
            found = self._shares(weights, objectives)
        counted = dict(zip(names(objectives), weights != 0, strict=True))
        return {name: n for name, n in found.items() if self.unweighted == "asked" or counted[name]} or found

    def _shares(self, weights: Array, objectives: Sequence[Objective]) -> dict[str, int]:
        found = {}
        for objective, share in zip(objectives, np.maximum(weights, 0) / weights.max(), strict=True):
            part = share if objective.direction == "higher" else 1 - share
            score = objective.low + float(part) * (objective.high - objective.low)
            found[objective.name] = level_of(score, objective, self.levels)
        return found

    def _best(self, weights: Array, objectives: Sequence[Objective]) -> dict[str, int]:
        table = _table(self.seen, self.counts, self.levels, tuple(objectives))
        value = table.parts @ weights + self.rarity * table.log_share
        return dict(table.ratings[int(np.argmax(value.round(9)))])  # the first of equals is the most frequent

    @staticmethod
    def _by_name(objectives: Sequence[Objective]) -> dict[str, Objective]:
        return {objective.name: objective for objective in objectives}


class _Table(NamedTuple):
    """What was seen: ratings, their levels as parts of the range [N, K], more is better, and log frequencies [N]."""

    ratings: list[dict[str, int]]
    parts: Array
    log_share: Array


@lru_cache(maxsize=16)  # every request asks
def _table(seen: tuple[str, ...], counts: tuple[int, ...], levels: int, objectives: tuple[Objective, ...]) -> _Table:
    ratings = [{name: int(level) for name, level in parse(text).items()} for text in seen]
    number = np.array(counts or [1] * len(ratings), dtype=np.float64)
    parts = np.stack([_parts(each, objectives, levels) for each in ratings])
    known = ~np.isnan(parts) * number[:, None]
    mean = np.nansum(parts * number[:, None], 0) / np.maximum(known.sum(0), 1)
    return _Table(ratings, np.where(np.isnan(parts), mean, parts), np.log(number / number.sum()))


def _parts(ratings: Mapping[str, int], objectives: Sequence[Objective], levels: int) -> Array:
    scores = [score_of(ratings[o.name], o, levels) if o.name in ratings else math.nan for o in objectives]
    low, high = (np.array([getattr(each, end) for each in objectives]) for end in ("low", "high"))
    parts: Array = (np.array(scores) - low) / (high - low) * direction_signs(objectives)
    return parts

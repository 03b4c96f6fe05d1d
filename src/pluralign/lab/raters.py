"""Simulated people: they see a reply, know its exact scores, and err. Records in, records out, seeded.

Each record's noise is a function of the seed and of the record's place in the stream, so that reading the same
records again gives the same ratings. A reply that is not grammatical is rated 0 everywhere, without noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pluralign.data.objective import Objective, names
from pluralign.data.record import Comparison, Outcome, Record
from pluralign.errors import ConfigError
from pluralign.lab.lexicon import Topic
from pluralign.lab.parser import split_sentences
from pluralign.lab.prompt_set import topic_of
from pluralign.lab.scoring import MAX_SCORE, OBJECTIVES, score_response, with_scores

Array = NDArray[np.float64]
FLIP = 0.15
HALO_CONTENT, HALO_OWN, HALO_NOISE = 0.6, 0.4, 0.5
_CONTENT_PER_SENTENCE = MAX_SCORE / 7


class Rater(Protocol):
    """Rates all responses of one record on the six objectives."""

    def rate(self, record: Record, topic: Topic, rng: np.random.Generator) -> Array:
        """Ratings [N, 6] of the record's N responses, 0..4."""


@dataclass(frozen=True, slots=True)
class NoisyRater:
    """Every exact score is off by one, up or down alike, with probability `flip` in all; clipped to 0..4."""

    flip: float = FLIP

    def rate(self, record: Record, topic: Topic, rng: np.random.Generator) -> Array:
        """Integer-valued ratings [N, 6]."""
        exact = _exact(record, topic)
        chances = (self.flip / 2, 1 - self.flip, self.flip / 2)
        noise = rng.choice((-1.0, 0.0, 1.0), size=exact.shape, p=chances)
        return _unless_ungrammatical(exact, exact + noise)


@dataclass(frozen=True, slots=True)
class HaloRater:
    """Every rating = .6 x how much the reply contains + .4 x the attribute asked for + noise, clipped to 0..4.

    Content runs from 0 (one sentence) to 4 (eight). The ratings of different attributes then correlate by about
    .6, and "concise" is rated the wrong way round: people who like a reply like everything about it.
    """

    content: float = HALO_CONTENT
    own: float = HALO_OWN
    noise: float = HALO_NOISE

    def rate(self, record: Record, topic: Topic, rng: np.random.Generator) -> Array:
        """Real-valued ratings [N, 6]."""
        exact = _exact(record, topic)
        lengths = [len(split_sentences(response.text)) for response in record.responses]
        amount = (np.array(lengths, dtype=np.float64)[:, None] - 1) * _CONTENT_PER_SENTENCE
        noise = rng.normal(0.0, self.noise, size=exact.shape)
        return _unless_ungrammatical(exact, self.content * amount + self.own * exact + noise)


def _exact(record: Record, topic: Topic) -> Array:
    rows = [score_response(topic, response) for response in record.responses]
    return np.array(rows, dtype=np.float64).reshape(-1, len(OBJECTIVES))


def _unless_ungrammatical(exact: Array, ratings: Array) -> Array:
    # Every grammatical reply has at least four points in all: what it lacks in content makes it concise.
    legal = exact.any(axis=1, keepdims=True)
    clipped: Array = np.clip(ratings, 0.0, MAX_SCORE) * legal
    return clipped


@dataclass(frozen=True, slots=True)
class Ratings:
    """The scorer made of a rater: fills the six objectives of every response with ratings.

    Records about no single topic of the lab pass through unchanged.
    """

    rater: Rater
    seed: int = 0
    objectives: tuple[Objective, ...] = OBJECTIVES

    def score(self, records: Iterable[Record]) -> Iterator[Record]:
        """The same records, in order, with ratings as scores."""
        for record, ratings in rated(records, self.rater, self.seed):
            yield record if ratings is None else with_scores(record, ratings.tolist())


@dataclass(frozen=True, slots=True)
class Comparisons:
    """People who only compare: per pair of responses and objective, which of two ratings is higher; ties are kept.

    No scores are given. `share` of the (pair, objective) questions is asked, the rest is missing. Responses marked
    `corrupted` are not shown to anyone: what is wrong with them is known by construction.
    """

    rater: Rater
    seed: int = 0
    share: float = 1.0
    objectives: tuple[Objective, ...] = OBJECTIVES

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ConfigError(f"share must be in (0, 1], got {self.share}")

    def score(self, records: Iterable[Record]) -> Iterator[Record]:
        """The same records, in order, with comparisons and without the six scores."""
        for number, (record, ratings) in enumerate(rated(records, self.rater, self.seed)):
            if ratings is None:
                yield record
                continue
            asked = np.random.default_rng([self.seed, number, 1])
            found = tuple(_compare(record, ratings, asked, self.share))
            yield replace(_without_scores(record), comparisons=record.comparisons + found)


def rated(records: Iterable[Record], rater: Rater, seed: int) -> Iterator[tuple[Record, Array | None]]:
    """Each record with its ratings [N, 6], or None where the prompt names no single topic."""
    for number, record in enumerate(records):
        topic = topic_of(record.messages)
        rng = np.random.default_rng([seed, number])
        yield record, None if topic is None else rater.rate(record, topic, rng)


def _compare(record: Record, ratings: Array, rng: np.random.Generator, share: float) -> Iterator[Comparison]:
    shown = [number for number, response in enumerate(record.responses) if not response.extra.get("corrupted")]
    for first, second in combinations(shown, 2):
        for column, name in enumerate(names(OBJECTIVES)):
            if share == 1.0 or rng.random() < share:
                yield Comparison(first, second, _outcome(ratings[first, column], ratings[second, column]), name)


def _outcome(first: float, second: float) -> Outcome:
    if first == second:
        return "tie"
    return "first" if first > second else "second"


def _without_scores(record: Record) -> Record:
    ours = set(names(OBJECTIVES))
    responses = tuple(
        replace(response, scores={key: value for key, value in response.scores.items() if key not in ours})
        for response in record.responses
    )
    return replace(record, responses=responses)

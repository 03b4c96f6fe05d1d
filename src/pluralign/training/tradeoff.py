"""TradeOffSource: random pairs of one prompt, judged under several drawn weights at once.

The step of the lab's trade-off-aware recipe: `pairs_per_step` random same-prompt pairs of similar length, each judged
under the step's `weights_per_step` drawn weights, so that a pair is seen in both orders wherever the trade-off turns it.
Weights are drawn over the objectives on which something is said about the pair (two scores, a comparison, a ranking):
pairs with the same labels share the draw.

A pair is judged as `data.conversions.trade_off` judges it (a test holds the two equal), but all pairs of a step in one
array operation and from evidence read once, because a step must not wait for its data.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pluralign.data import simplex
from pluralign.data.condition import Weights, from_vector
from pluralign.data.evidence import Evidence, evidence
from pluralign.data.group import Group, Preference, Text, cut_off
from pluralign.data.objective import Objective, names
from pluralign.data.record import Record
from pluralign.errors import ConfigError, DataError
from pluralign.storage import fingerprint
from pluralign.training.source import check_same

POOL = 8  # steps whose pairs are drawn together and sorted by length
_PAIRS, _WEIGHTS = 1, 2  # streams of the generator
_NO_MARGIN = 1e-9  # of the size of the terms: what cancels up to rounding is no preference

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two responses of record number `record`: what is said about them per objective, first over second.

    `size` and `verdict` [K] as in `data.evidence.Evidence`; `labels`: on which objectives there is a verdict;
    `length`: characters of the prompt and the longer response.
    """

    record: int
    first: int
    second: int
    size: Array
    verdict: Array
    labels: tuple[bool, ...]
    length: int


class TradeOffSource:
    """See the module's text. `ties`: keep pairs of equal worth under a weight as judgements of margin 0, which a regression
    learns from (two replies equally good keep the odds of the reference) and a comparison cannot. Raises DataError where no record has two different responses with a common label."""

    def __init__(
        self,
        records: Sequence[Record],
        objectives: Sequence[Objective],
        seed: int = 0,
        pairs_per_step: int = 32,
        weights_per_step: int = 4,
        ties: bool = False,
    ) -> None:
        if pairs_per_step < 1 or weights_per_step < 1:
            raise ConfigError(
                f"pairs_per_step and weights_per_step must be at least 1, got {pairs_per_step} and {weights_per_step}"
            )
        self.objectives, self.seed = tuple(objectives), seed
        self.pairs_per_step, self.weights_per_step, self.ties = pairs_per_step, weights_per_step, ties
        self.records = list(records)
        labelled = [_labelled_pairs(number, record, self.objectives) for number, record in enumerate(self.records)]
        self._pairs = [pairs for pairs in labelled if pairs]
        if not self._pairs:
            raise DataError(
                "no record has two different responses with a common label on one of the objectives "
                f"{', '.join(names(objectives))}; check the names, the scores and the comparisons"
            )
        self._pool = lru_cache(maxsize=2)(self._draw_pool)

    def batch(self, step: int) -> list[Group]:
        """The groups of a step; pairs that tie under all the step's weights are left out."""
        drawn = self._pool(step // POOL)[step % POOL]
        groups: list[Group | None] = [None] * len(drawn)
        for labels in dict.fromkeys(pair.labels for pair in drawn):
            places = [place for place, pair in enumerate(drawn) if pair.labels == labels]
            judged = self._judge([drawn[place] for place in places], self._weights(step, labels))
            for place, group in zip(places, judged, strict=True):
                groups[place] = group
        return [group for group in groups if group is not None]

    def _weights(self, step: int, labels: tuple[bool, ...]) -> Array:
        """[L, K] over the labelled objectives."""
        rng = np.random.default_rng([self.seed, _WEIGHTS, step, *labels])
        return simplex.draw(rng, self.weights_per_step, len(self.objectives), np.array(labels))

    def _judge(self, pairs: Sequence[Pair], weights: Array) -> list[Group | None]:
        sized = _weighed(weights, np.stack([pair.size for pair in pairs]))
        signed = _weighed(weights, np.stack([pair.verdict for pair in pairs]))
        value = np.where(np.isnan(sized), signed, sized)
        conditions = tuple(from_vector(row, self.objectives) for row in weights)
        known = ~np.isnan(sized)
        judged = zip(pairs, value.tolist(), known.tolist(), strict=True)
        return [self._group(pair, row, is_known, conditions) for pair, row, is_known in judged]

    def _group(
        self, pair: Pair, values: list[float], known: list[bool], conditions: tuple[Weights, ...]
    ) -> Group | None:
        preferences = tuple(
            Preference(place, int(value < 0), int(value >= 0), abs(value) if known[place] else None)
            for place, value in enumerate(values)
            if value == value and (value != 0 or (self.ties and known[place]))
        )
        if not preferences:
            return None
        record = self.records[pair.record]
        return Group.of(record, (record.responses[pair.first], record.responses[pair.second]), conditions, preferences)

    def _draw_pool(self, block: int) -> list[list[Pair]]:
        """The pairs of POOL steps: random records, a random pair of each, cut into steps by length, in random order."""
        rng = np.random.default_rng([self.seed, _PAIRS, block])
        size = self.pairs_per_step
        chosen = rng.integers(len(self._pairs), size=POOL * size)
        within = rng.random(POOL * size)
        drawn = [self._pairs[n][int(u * len(self._pairs[n]))] for n, u in zip(chosen, within, strict=True)]
        drawn.sort(key=lambda pair: pair.length)
        return [drawn[bucket * size : (bucket + 1) * size] for bucket in rng.permutation(POOL)]

    def texts(self) -> Iterable[Text]:
        """Every prompt with each response that some pair holds."""
        for pairs in self._pairs:
            record = self.records[pairs[0].record]
            for index in sorted({index for pair in pairs for index in (pair.first, pair.second)}):
                yield record.messages, record.responses[index].text, record.responses[index].finished

    def state(self) -> dict[str, Any]:
        """Identity only: the place follows from the step."""
        return {
            "kind": "trade-off",
            "seed": self.seed,
            "pairs_per_step": self.pairs_per_step,
            "weights_per_step": self.weights_per_step,
            "ties": self.ties,
            "objectives": list(names(self.objectives)),
            "content": self._content,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """RunError unless seed, sizes and content are the same."""
        check_same(state, self.state(), "data")

    @cached_property
    def _content(self) -> str:
        return fingerprint(*(part for pairs in self._pairs for part in self._describe(pairs)))

    def _describe(self, pairs: Sequence[Pair]) -> list[Any]:
        record = self.records[pairs[0].record]
        turns = [[message.role, message.content] for message in record.messages]
        numbers = np.stack([[pair.size, pair.verdict] for pair in pairs]).astype("<f8").tobytes()
        places = [[pair.first, pair.second] for pair in pairs]
        texts = [response.text for response in record.responses]
        return [[turns, texts, places, *cut_off(record.responses)], numbers]


def _labelled_pairs(number: int, record: Record, objectives: Sequence[Objective]) -> list[Pair]:
    found: Evidence = evidence(record, objectives)
    said = ~np.isnan(found.verdict)
    texts = [response.text for response in record.responses]
    prompt = sum(len(message.content) for message in record.messages)
    return [
        Pair(
            record=number,
            first=first,
            second=second,
            size=found.size[first, second],
            verdict=found.verdict[first, second],
            labels=tuple(said[first, second].tolist()),
            length=prompt + max(len(texts[first]), len(texts[second])),
        )
        for first, second in combinations(range(len(texts)), 2)
        if said[first, second].any() and texts[first] != texts[second]
    ]


def _weighed(weights: Array, values: Array) -> Array:
    """λ·value [P, L] of values [P, K]; NaN where a weighed value is unknown, exactly 0 where the terms cancel."""
    terms = np.where(weights == 0, 0.0, weights * values[:, None])
    total = terms.sum(2)
    return np.where(np.abs(total) <= _NO_MARGIN * np.abs(terms).sum(2), 0.0, total)

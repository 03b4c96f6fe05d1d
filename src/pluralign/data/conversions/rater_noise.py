"""Rater noise: how often each rater says the opposite of what was meant, the ε of cDPO and rDPO (methods.md B2, B3).

Nobody knows the truth; who disagrees with whom tells. One-coin Dawid-Skene (1979; the crowd version of the pairwise
model of Chen et al. 2013) on pairs of replies, per objective: a rater names the truly better reply with probability
1 - ε. What differs by taste counts as noise here, so split the raters into groups first (`rater_groups`) where people
really disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from pluralign.data.dawid_skene import estimate
from pluralign.data.objective import Objective
from pluralign.data.record import Rater, Record
from pluralign.errors import DataError

ANONYMOUS = ""
_Judgement = tuple[int, int, str | None, str, bool]  # reply, later reply, objective, rater, the later one is better


@dataclass(frozen=True, slots=True)
class Noise:
    """`epsilon` and `num_labels` by rater id ("": all without an id, as one); `overall` is the mean over labels.

    `shared` is the share of labels on pairs that two or more raters judged. Where it is 0, the estimate is the prior
    alone. A rater above .5 says the opposite more often than not.
    """

    epsilon: Mapping[str, float]
    num_labels: Mapping[str, int]
    overall: float
    shared: float

    def smoothing(self, limit: float = 0.45) -> float:
        """The overall ε as cDPO and rDPO take it: below one half."""
        return min(self.overall, limit)


def rater_noise(
    records: Iterable[Record], objectives: Sequence[Objective], right: float = 4.0, wrong: float = 1.0
) -> Noise:
    """ε of every rater from comparisons, rankings and ratings of several replies of a prompt; one streamed pass.

    Each (pair, objective) is an item; ties and abstentions say nothing of it; a rater's equal judgements from several
    sources count each. `right` and `wrong` are the pseudo-labels of the prior (mean ε = .2). A 'lower' objective's
    ratings are turned round. Raises DataError when nobody judged any pair.
    """
    lower = {objective.name for objective in objectives if objective.direction == "lower"}
    places: dict[tuple[int, int, int, str | None], int] = {}
    raters: dict[str, int] = {}
    triplets: list[tuple[int, int, bool]] = []
    for number, record in enumerate(records):
        for i, j, objective, rater, later in _judgements(record, lower):
            item = places.setdefault((number, i, j, objective), len(places))
            triplets.append((item, raters.setdefault(rater, len(raters)), later))
    if not triplets:
        raise DataError("nobody judged two replies of a prompt, so raters cannot be compared; annotate some first")
    items, workers, labels = np.array(triplets, dtype=np.intp).T
    found = estimate(items, workers, labels, (len(places), len(raters), 2), True, right, wrong)
    epsilon = 1 - found.accuracy
    seen = np.zeros(len(places), dtype=np.intp)
    np.add.at(seen, np.unique(np.stack([items, workers]), axis=1)[0], 1)
    return Noise(
        {rater: float(epsilon[place]) for rater, place in raters.items()},
        {rater: int(found.counts[place]) for rater, place in raters.items()},
        float((epsilon * found.counts).sum() / found.counts.sum()),
        float((seen[items] > 1).mean()),
    )


def _judgements(record: Record, lower: set[str]) -> Iterator[_Judgement]:
    for item in record.comparisons:
        if item.outcome in ("first", "second"):
            better, worse = (item.first, item.second) if item.outcome == "first" else (item.second, item.first)
            yield _judgement(better, worse, item.objective, item.rater)
    for ranking in record.rankings:
        for upper, below in combinations(ranking.tiers, 2):
            yield from (_judgement(a, b, ranking.objective, ranking.rater) for a in upper for b in below)
    yield from _by_ratings(record, lower)


def _judgement(better: int, worse: int, objective: str | None, rater: Rater | None) -> _Judgement:
    return min(better, worse), max(better, worse), objective, _name(rater), worse < better


def _by_ratings(record: Record, lower: set[str]) -> Iterator[_Judgement]:
    """Two replies that the same rater (with an id) scored apart; two nameless ratings may be of two people."""
    given: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for place, reply in enumerate(record.responses):
        for rating in reply.ratings:
            rater = _name(rating.rater)
            known = ((name, score) for name, score in rating.scores.items() if rater != ANONYMOUS and score is not None)
            for name, score in known:
                given.setdefault((name, rater), []).append((place, -score if name in lower else score))
    for (name, rater), scores in given.items():
        for (i, first), (j, second) in combinations(scores, 2):
            if first != second and i != j:
                yield i, j, name, rater, second > first


def _name(rater: Rater | None) -> str:
    return ANONYMOUS if rater is None or rater.id is None else rater.id

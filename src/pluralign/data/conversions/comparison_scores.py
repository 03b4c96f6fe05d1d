"""Comparisons to scores and back: Bradley-Terry strengths with ties as scores, score differences as comparisons.

Bradley and Terry (1952), ties by Davidson (1970) or Rao and Kupper (1967); the equations are in `bradley_terry`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from pluralign.data.bradley_terry import Fit, fit
from pluralign.data.evidence import aggregate
from pluralign.data.objective import Objective
from pluralign.data.record import Comparison, Rater, Record, Response, Scores
from pluralign.errors import ConfigError, DataError

ITEMS = ("reply", "model")
_OUTCOMES = {"first": 1.0, "second": -1.0, "tie": 0.0}


def scores_from_comparisons(
    records: Sequence[Record],
    objectives: Sequence[Objective],
    items: str = "reply",
    model: str = "davidson",
    prior: float = 1.0,
    overall: str | None = None,
) -> tuple[list[Record], tuple[Objective, ...]]:
    """Records whose compared replies are scored, in log-odds, and all objectives with their new ranges.

    One fit per objective over all records, with one tie parameter. `items`: "reply" scores each reply by itself
    ("per prompt": replies of different prompts never meet and share only the tie parameter), "model" scores the
    models that wrote them. `overall` names a new objective for overall comparisons, which are left out by default.
    Rankings count as their pairs; strengths, abstentions and raters are not used. Comparisons stay. More is better,
    so a fitted 'lower' objective gets scores of the opposite sign. Replies in no comparison stay unscored.
    Raises ConfigError for another kind of items or an `overall` that is taken, DataError where compared replies
    are scored already, or have no model that is needed.
    """
    if items not in ITEMS:
        raise ConfigError(f"items is one of {', '.join(ITEMS)}, got {items!r}")
    wanted: list[Objective] = list(objectives)
    if overall is not None:
        if overall in [objective.name for objective in objectives]:
            raise ConfigError(f"the objective {overall!r} exists already; give overall comparisons another name")
        wanted.append(Objective(overall, "overall preference"))
    found: dict[str, dict[Hashable, float]] = {}
    ranges = []
    for objective in wanted:
        named = None if objective.name == overall else objective.name
        scores = _strengths(records, named, items, model, prior, -1.0 if objective.direction == "lower" else 1.0)
        found[objective.name] = scores
        ranges.append(_ranged(objective, scores.values()) if scores else objective)
    changed = [_scored_record(number, record, found, items) for number, record in enumerate(records)]
    return changed, tuple(ranges)


def score_comparisons(
    record: Record, objectives: Sequence[Objective], tie: float | Mapping[str, float] = 0.0, by_rater: bool = False
) -> Record:
    """The record with a comparison for each pair of replies and each objective on which both are scored.

    Differences up to `tie` (in the objective's units; one number, or one per objective) are ties; the strength is the
    difference. `by_rater` compares each rater's own ratings instead (raters with an id), which keeps who said it.
    Comparisons that are there stay in front. Raises ConfigError for a threshold below 0.
    """
    thresholds = {o.name: float(tie.get(o.name, 0.0) if isinstance(tie, Mapping) else tie) for o in objectives}
    if not all(value >= 0 and math.isfinite(value) for value in thresholds.values()):
        raise ConfigError(f"tie thresholds are finite and from 0, got {tie}")
    signs = {o.name: 1.0 if o.direction == "higher" else -1.0 for o in objectives}
    new = [
        _compared(i, j, name, signs[name] * (first - second), thresholds[name], rater)
        for rater, rows in (_own_ratings(record) if by_rater else [(None, _aggregates(record))])
        for (i, one), (j, other) in combinations(rows, 2)
        for name in thresholds
        if (first := one.get(name)) is not None and (second := other.get(name)) is not None
    ]
    return dataclasses.replace(record, comparisons=(*record.comparisons, *new))


def _compared(i: int, j: int, name: str, difference: float, tie: float, rater: Rater | None) -> Comparison:
    if abs(difference) <= tie:
        return Comparison(i, j, "tie", name, rater=rater)
    return Comparison(i, j, "first" if difference > 0 else "second", name, abs(difference), rater)


def _aggregates(record: Record) -> list[tuple[int, Scores]]:
    return [(place, aggregate(response)) for place, response in enumerate(record.responses)]


def _own_ratings(record: Record) -> Iterator[tuple[Rater, list[tuple[int, Scores]]]]:
    raters: dict[str, Rater] = {}
    rows: dict[str, dict[int, Scores]] = {}
    for place, response in enumerate(record.responses):
        for rating in response.ratings:
            if rating.rater is not None and rating.rater.id is not None:
                raters.setdefault(rating.rater.id, rating.rater)
                own = rows.setdefault(rating.rater.id, {})
                own[place] = {**own.get(place, {}), **rating.scores}
    yield from ((raters[name], list(own.items())) for name, own in rows.items())


def _strengths(
    records: Iterable[Record], objective: str | None, items: str, model: str, prior: float, sign: float
) -> dict[Hashable, float]:
    """The score of each item that was compared on the objective."""
    places: dict[Hashable, int] = {}
    rows: list[tuple[int, int, float]] = []
    for number, record in enumerate(records):
        for i, j, outcome in _judged(record, objective):
            one, other = (_item(number, place, record.responses[place], items) for place in (i, j))
            if one != other:  # two replies of the same model say nothing of it
                rows.append((places.setdefault(one, len(places)), places.setdefault(other, len(places)), outcome))
    if not rows:
        return {}
    first, second, outcomes = np.array(rows).T
    found: Fit = fit(first.astype(np.intp), second.astype(np.intp), outcomes, len(places), model, prior)
    return dict(zip(places, (sign * found.scores).tolist(), strict=True))


def _judged(record: Record, objective: str | None) -> Iterator[tuple[int, int, float]]:
    for item in record.comparisons:
        if item.objective == objective and item.outcome != "abstain":
            yield item.first, item.second, _OUTCOMES[item.outcome]
    for ranking in record.rankings:
        placed = [(tier, place) for tier, places in enumerate(ranking.tiers) for place in places]
        for (upper, first), (lower, second) in combinations(placed if ranking.objective == objective else [], 2):
            yield first, second, 0.0 if upper == lower else 1.0


def _item(number: int, place: int, response: Response, items: str) -> Hashable:
    if items == "reply":
        return number, place
    if response.model is None:
        raise DataError("a compared reply does not say which model wrote it; fit with items='reply'")
    return response.model


def _scored_record(number: int, record: Record, found: Mapping[str, Mapping[Hashable, float]], items: str) -> Record:
    def score(place: int, response: Response) -> Response:
        item = (number, place) if items == "reply" else response.model
        new = {name: scores[item] for name, scores in found.items() if item in scores}
        twice = sorted(set(new) & set(aggregate(response)))
        if twice:
            raise DataError(f"a compared reply already has scores of {', '.join(twice)}; leave these objectives out")
        return dataclasses.replace(response, scores={**response.scores, **new}) if new else response

    replies = tuple(score(place, response) for place, response in enumerate(record.responses))
    return dataclasses.replace(record, responses=replies)


def _ranged(objective: Objective, scores: Iterable[float]) -> Objective:
    """The objective with bounds around its scores, rounded outwards to hundredths and never empty."""
    values = list(scores)
    low, high = math.floor(min(values) * 100) / 100, math.ceil(max(values) * 100) / 100
    return dataclasses.replace(objective, low=low, high=high if high > low else low + 0.01)

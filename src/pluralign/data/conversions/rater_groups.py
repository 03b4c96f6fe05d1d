"""Rater groups: every rater gets a group, from what they told about themselves or from what they say.

PAL (Chen et al. 2024, arXiv 2406.08469), MaxMin-RLHF (Chakraborty et al. 2024, arXiv 2402.08925) and every report by
group need them. By opinions as in Polis (`opinion_groups`); methods.md C7, D8, D17.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pluralign.data.evidence import Array
from pluralign.data.objective import Objective
from pluralign.data.opinion_groups import Clusters, cluster, imputed
from pluralign.data.record import Comment, Comparison, Ranking, Rater, Rating, Record, Response, Span, Vote
from pluralign.errors import ConfigError, DataError

UNKNOWN = "unknown"
_CHOICES = {"agree": 1.0, "disagree": -1.0, "pass": 0.0}
_Said = TypeVar("_Said", Rating, Comment, Span, Vote, Comparison, Ranking)
_OUTCOMES = {"first": 1.0, "second": -1.0, "tie": 0.0}


@dataclass(frozen=True, slots=True)
class Opinions:
    """`answers` [R, I] in [-1, 1] of raters (ids) to items, NaN where they did not answer."""

    raters: tuple[str, ...]
    answers: Array


def by_demographics(records: Iterable[Record], keys: Sequence[str]) -> Iterator[Record]:
    """The records with each rater's group as the values of these demographics, "woman, 30-39"; a missing one is "unknown".

    Raises ConfigError without a key, DataError at the end when no rater has any of them.
    """
    if not keys:
        raise ConfigError("name at least one demographic to group raters by")
    seen: set[str] = set()
    known: set[str] = set()

    def group(rater: Rater) -> Rater:
        seen.update(rater.demographics)
        known.update(set(keys) & set(rater.demographics))
        return dataclasses.replace(rater, group=", ".join(rater.demographics.get(key, UNKNOWN) for key in keys))

    for record in records:
        yield regrouped(record, group)
    if not known:
        found = ", ".join(sorted(seen)) or "none"
        raise DataError(f"no rater tells {', '.join(keys)}; the demographics of these records are: {found}")


def by_opinions(
    records: Sequence[Record],
    objectives: Sequence[Objective],
    ks: Sequence[int] = (2, 3, 4, 5),
    method: str = "kmeans",
    least: int = 1,
    apart: bool = False,
    seed: int = 0,
) -> tuple[list[Record], list[Clusters]]:
    """The records with raters in groups "1" (the largest), "2" ... by what they say, and the clusters found.

    Raters with fewer than `least` answers (Polis asks for 7) do not shape the groups and join the group whose mean
    answers are nearest to theirs. With `apart`, raters who are linked by no shared item, as those of two conversations,
    are clustered apart; groups are then "1.1", "1.2", "2.1" ... Raters without an id keep what they have. Raises
    DataError when no rater with an id answered enough, and as `opinion_groups.cluster` does.
    """
    found = opinions(records, objectives)
    enough = (~np.isnan(found.answers)).sum(1) >= least
    if not enough.any():
        raise DataError(f"no rater with an id answered {least} items; lower the least number, or add rater ids")
    sets = _linked(found.answers) if apart else np.zeros(len(found.raters), dtype=np.intp)
    named: dict[str, str] = {}
    clusters = []
    for place in np.unique(sets):
        members = np.flatnonzero(sets == place)
        used = found.answers[members][:, (~np.isnan(found.answers[members])).any(0)]
        clusters.append(_clustered(used, enough[members], ks, method, seed))
        before = f"{len(clusters)}." if apart else ""
        named |= {found.raters[m]: f"{before}{g + 1}" for m, g in zip(members, clusters[-1].group, strict=True)}
    return [regrouped(record, _namer(named)) for record in records], clusters


def _clustered(answers: Array, enough: NDArray[np.bool_], ks: Sequence[int], method: str, seed: int) -> Clusters:
    """The clusters of the rows with enough answers, and the others beside the nearest mean of what both answered."""
    if not enough.any():  # a set apart of raters who said little: one group
        return Clusters(np.zeros(len(answers), dtype=np.intp), 0.0, {})
    clusters = cluster(answers[enough], ks, method, seed=seed)
    group = np.zeros(len(answers), dtype=np.intp)
    group[enough] = clusters.group
    centres = np.array([_mean(answers[enough][clusters.group == k]) for k in range(int(clusters.group.max()) + 1)])
    for place in np.flatnonzero(~enough):
        distance = (centres - answers[place]) ** 2
        shared = ~np.isnan(distance)
        mean = np.where(shared, distance, 0.0).sum(1) / np.maximum(shared.sum(1), 1)
        group[place] = int(np.where(shared.any(1), mean, np.inf).argmin())
    return dataclasses.replace(clusters, group=group)


def _linked(answers: Array) -> NDArray[np.intp]:
    """The set of each rater, numbered by its first rater; raters with an item in common are in one set."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    known = csr_array(~np.isnan(answers)).astype(np.int32)
    return np.asarray(connected_components(known @ known.T, directed=False)[1], dtype=np.intp)


def opinions(records: Iterable[Record], objectives: Sequence[Objective]) -> Opinions:
    """What each rater with an id answered: ratings (their range as [-1, 1]), votes, comparisons and pairs of rankings.

    An item is a reply under an objective, a reply voted on, or two replies under an objective; the same texts in
    several records are the same item. What a rater answered twice is averaged, abstentions are missing. Comparisons
    and votes are 1, -1 and 0 (tie, pass).
    """
    ranges = {objective.name: (objective.low, objective.high) for objective in objectives}
    prompts: dict[Hashable, int] = {}
    raters: dict[str, int] = {}
    items: dict[Hashable, int] = {}
    given: dict[tuple[int, int], list[float]] = defaultdict(list)
    for record in records:
        prompt = prompts.setdefault(record.messages, len(prompts))
        for rater, item, value in (*_of_replies(record, ranges), *_of_pairs(record)):
            if rater is not None and rater.id is not None:
                row = raters.setdefault(rater.id, len(raters))
                given[row, items.setdefault((prompt, item), len(items))].append(value)
    answers = np.full((len(raters), len(items)), np.nan)
    for place, values in given.items():
        answers[place] = sum(values) / len(values)
    return Opinions(tuple(raters), answers)


def regrouped(record: Record, change: Callable[[Rater], Rater]) -> Record:
    """The record with every rater in it (of ratings, comments, spans, votes, comparisons, rankings) changed."""

    def one(value: _Said) -> _Said:
        return value if value.rater is None else dataclasses.replace(value, rater=change(value.rater))

    def response(old: Response) -> Response:
        return dataclasses.replace(
            old,
            ratings=tuple(map(one, old.ratings)),
            comments=tuple(map(one, old.comments)),
            spans=tuple(map(one, old.spans)),
            votes=tuple(map(one, old.votes)),
        )

    return dataclasses.replace(
        record,
        responses=tuple(map(response, record.responses)),
        comparisons=tuple(map(one, record.comparisons)),
        rankings=tuple(map(one, record.rankings)),
    )


def _namer(named: Mapping[str, str]) -> Callable[[Rater], Rater]:
    return lambda rater: dataclasses.replace(rater, group=named.get(rater.id or "", rater.group))


def _mean(answers: Array) -> Array:
    """Column means over one group [I]; NaN for items that the group did not answer."""
    known = ~np.isnan(answers)
    mean: Array = np.where(known.any(0), imputed(answers).mean(0), np.nan)
    return mean


_Answer = tuple[Rater | None, Hashable, float]


def _of_replies(record: Record, ranges: Mapping[str, tuple[float, float]]) -> Iterator[_Answer]:
    for response in record.responses:
        for rating in response.ratings:
            known = [(name, x) for name, x in rating.scores.items() if x is not None and name in ranges]
            for name, score in known:
                low, high = ranges[name]
                yield rating.rater, (response.text, name), 2 * (score - low) / (high - low) - 1
        yield from ((vote.rater, response.text, _CHOICES[vote.choice]) for vote in response.votes)


def _of_pairs(record: Record) -> Iterator[_Answer]:
    for item in record.comparisons:
        if item.outcome in _OUTCOMES:
            yield _pair(record, item.first, item.second, item.objective, item.rater, _OUTCOMES[item.outcome])
    for ranking in record.rankings:
        placed = [(tier, place) for tier, places in enumerate(ranking.tiers) for place in places]
        for (upper, first), (lower, second) in combinations(placed, 2):
            value = 0.0 if upper == lower else 1.0
            yield _pair(record, first, second, ranking.objective, ranking.rater, value)


def _pair(record: Record, first: int, second: int, objective: str | None, rater: Rater | None, value: float) -> _Answer:
    """The pair in the order of its texts, which is the same in every record."""
    one, other = record.responses[first].text, record.responses[second].text
    return rater, (min(one, other), max(one, other), objective), value if one <= other else -value

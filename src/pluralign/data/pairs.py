"""Trade-off pairs of a whole data set: every pair of a prompt's replies under weights that are drawn for the prompt.

Records that hold only scores, all of them, are judged many at a time; the others one by one (`trade_off.judged` does
both, and a test holds the two equal). The weights of a record are a function of the seed and its place among the
records, not of how many are judged at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pluralign.data import simplex
from pluralign.data.condition import from_vector
from pluralign.data.conversions.trade_off import judged, weighed
from pluralign.data.evidence import Array, direction_signs, evidence
from pluralign.data.group import Group, Preference
from pluralign.data.objective import Objective, names
from pluralign.data.record import Record, Scores
from pluralign.errors import ConfigError, DataError

_AT_A_TIME = 512
_BLOCK = 1024  # records whose weights come from one generator: a matter of speed, but part of what a seed means
_WHOLE, _PART = 1, 2  # streams of the generator


@dataclass(frozen=True, slots=True)
class Pairs:
    """The judged pairs of one record: in entry n, reply `chosen[n]` beats `rejected[n]` under weights `condition[n]`.

    `weights` holds [K] numbers per condition; `margin[n]` > 0 is by how much, None where only the direction is known.
    """

    record: Record
    weights: list[list[float]]
    condition: list[int]
    chosen: list[int]
    rejected: list[int]
    margin: Sequence[float | None]


def pairs(
    records: Iterable[Record], objectives: Sequence[Objective], num_weights: int = 1, seed: int = 0
) -> Iterator[Pairs]:
    """The pairs of each record, under `num_weights` weights drawn over the objectives on which both replies are judged
    (see `simplex.draw`); a record without any gives none. Raises ConfigError for numbers out of range."""
    if num_weights < 1 or seed < 0 or not objectives:
        asked = f"{num_weights} weights, seed {seed} and {len(objectives)} objectives"
        raise ConfigError(f"pairs need at least 1 weight, a seed from 0 and at least 1 objective; got {asked}")
    drawn = Drawn(seed, num_weights, len(objectives))
    stream, place = iter(records), 0
    while batch := list(islice(stream, _AT_A_TIME)):
        yield from _batch(batch, place, objectives, drawn)
        place += len(batch)


def groups(
    records: Iterable[Record], objectives: Sequence[Objective], num_weights: int = 1, seed: int = 0
) -> Iterator[Group]:
    """The same pairs as groups to train on, streamed."""
    for found in pairs(records, objectives, num_weights, seed):
        conditions = tuple(from_vector(np.array(row), objectives) for row in found.weights)
        judgements = zip(found.condition, found.chosen, found.rejected, found.margin, strict=True)
        preferences = tuple(Preference(*judgement) for judgement in judgements)
        yield Group.of(found.record, found.record.responses, conditions, preferences)


class Drawn:
    """The weights [L, K] of the record at a place; those for all objectives are drawn in blocks, for speed."""

    def __init__(self, seed: int, num: int, k: int) -> None:
        self._seed, self._num, self._k = seed, num, k
        self._block, self._known = -1, np.empty((0, num, k))

    def whole(self, place: int) -> Array:
        """Over all objectives."""
        block, within = divmod(place, _BLOCK)
        if block != self._block:
            rng = np.random.default_rng([self._seed, _WHOLE, block])
            drawn = simplex.draw(rng, _BLOCK * self._num, self._k)
            self._block, self._known = block, drawn.reshape(_BLOCK, self._num, self._k)
        return np.asarray(self._known[within])

    def over(self, place: int, labels: NDArray[np.bool_]) -> Array:
        """Over the labelled objectives [K]; pairs with the same labels share the draw."""
        if labels.all():
            return self.whole(place)
        rng = np.random.default_rng([self._seed, _PART, place, *labels.tolist()])
        return simplex.draw(rng, self._num, self._k, labels)


def _batch(batch: list[Record], start: int, objectives: Sequence[Objective], drawn: Drawn) -> Iterator[Pairs]:
    """Plain records in one go, the others each by itself, in order."""
    wanted = names(objectives)
    pick = itemgetter(*wanted)
    scored = ((place, record, _plain_scores(record, pick)) for place, record in enumerate(batch, start))
    plain = [(place, record, rows) for place, record, rows in scored if rows]
    together = dict(_together(plain, objectives, drawn)) if plain else {}
    for place, record in enumerate(batch, start):
        found = together[place] if place in together else one_by_one(record, place, objectives, drawn)
        if found.condition:
            yield found


def _plain_scores(record: Record, pick: Callable[[Scores], Any]) -> list[Any]:
    """The scores of every reply, where all are known and nothing else is said; empty for other records.

    The aggregate goes before the raters' ratings, which may be there too.
    """
    if record.comparisons or record.rankings:
        return []
    try:
        rows = [pick(response.scores) for response in record.responses]
    except KeyError:
        return []
    return [] if any(row is None or (type(row) is tuple and None in row) for row in rows) else rows


def _together(
    plain: list[tuple[int, Record, list[Any]]], objectives: Sequence[Objective], drawn: Drawn
) -> Iterator[tuple[int, Pairs]]:
    """The pairs of plain records by their place, from one array operation; nothing where numbers overflow."""
    sizes = np.array([len(rows) for _, _, rows in plain])
    every = np.array([row for _, _, rows in plain for row in rows], dtype=np.float64)
    scores = every.reshape(-1, len(objectives)) * direction_signs(objectives)
    first, second = np.concatenate([_ends(int(size)) for size in sizes], axis=1)
    owner = np.repeat(np.arange(len(plain)), sizes * (sizes - 1) // 2)
    offset = (np.cumsum(sizes) - sizes)[owner]
    weights = np.stack([drawn.whole(place) for place, _, _ in plain])
    with np.errstate(over="ignore", invalid="ignore"):
        value = weighed(weights[owner], scores[offset + first] - scores[offset + second])
    if not np.isfinite(value).all():
        return
    pair, condition = np.nonzero(value)
    won = value[pair, condition] > 0
    ends = np.bincount(owner[pair], minlength=len(plain)).cumsum().tolist()
    columns = [
        condition.tolist(),
        np.where(won, first[pair], second[pair]).tolist(),
        np.where(won, second[pair], first[pair]).tolist(),
        np.abs(value[pair, condition]).tolist(),
    ]
    listed = weights.tolist()
    for number, (place, record, _) in enumerate(plain):
        own = slice(ends[number - 1] if number else 0, ends[number])
        yield place, Pairs(record, listed[number], *(column[own] for column in columns))


@cache
def _ends(size: int) -> NDArray[np.intp]:
    """[2, P]: first and second of all pairs of so many replies."""
    return np.stack(np.triu_indices(size, 1))


def one_by_one(record: Record, place: int, objectives: Sequence[Objective], drawn: Drawn) -> Pairs:
    """The pairs of any record: those with the same labels share their weights."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = evidence(record, objectives)
    first, second = _ends(len(record.responses))
    size, verdict = found.size[first, second], found.verdict[first, second]
    labels = ~np.isnan(verdict)
    result = Pairs(record, [], [], [], [], margin := [])
    entries: list[tuple[int, int, float, bool]] = []
    for pattern in np.unique(labels[labels.any(1)], axis=0):
        weights = drawn.over(place, pattern)
        own = np.flatnonzero((labels == pattern).all(1))
        with np.errstate(over="ignore", invalid="ignore"):
            values, known = judged(size[own], verdict[own], weights[None])
        if not np.isfinite(values).all():
            raise DataError(f"record {place + 1}: its scores differ by more than a number can hold; scale them down")
        entries += [
            (int(own[at]), len(result.weights) + int(to), float(values[at, to]), bool(known[at, to]))
            for at, to in np.argwhere(values != 0)
        ]
        result.weights.extend(weights.tolist())
    for pair, condition, value, sized in sorted(entries):
        ends = (int(first[pair]), int(second[pair]))[:: 1 if value > 0 else -1]
        result.condition.append(condition)
        result.chosen.append(ends[0])
        result.rejected.append(ends[1])
        margin.append(abs(value) if sized else None)
    return result

"""One record, looked at once: keys of its texts, its scores, and what it says about each two of its replies."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from pluralign.data.evidence import Array, aggregate, direction_signs, evidence
from pluralign.data.objective import Objective, names
from pluralign.data.record import Comparison, Ranking, Record

MOST_REPLIES = 64
"""Pairs grow with the square of the replies: of a record with more, this many, evenly spread, are paired."""
OVERALL = Objective("_overall", "the whole reply")
"""Stands for judgements without an objective, as the last column of everything that is said about pairs."""
Places = NDArray[np.int64]


def key(*texts: str) -> int:
    """64 bits (BLAKE2b) of the texts, signed as SQLite keeps them; among a million, two are equal with chance 3e-8."""
    digest = hashlib.blake2b(digest_size=8)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return int.from_bytes(digest.digest(), "little", signed=True)


@dataclass(frozen=True, slots=True)
class Look:
    """A record with what every statistic needs of it; N replies, K objectives, P pairs of replies.

    `scores` [N, K] in the source's units, NaN where missing or abstained; `declined` [K] counts abstentions;
    `first` and `second` [P] are places of replies, `verdict` [P, K + 1] is 1 where the first is better, -1, 0 (tie)
    or NaN (not judged); its last column is the judgement without an objective.
    """

    record: Record
    prompt: int
    replies: tuple[int, ...]
    lengths: Places
    scores: Array
    declined: Array
    first: Places
    second: Places
    verdict: Array


def look(record: Record, objectives: Sequence[Objective]) -> Look:
    """Everything about one record that is needed more than once."""
    prompt = key(*[part for message in record.messages for part in (message.role, message.content)])
    lengths = np.array([len(response.text) for response in record.responses], dtype=np.int64)
    scores, declined = _scores(record, objectives)
    places = _places(len(record.responses))
    first, second = (places[side] for side in _both_sides(len(places)))
    return Look(
        record,
        prompt,
        tuple(key(response.text) for response in record.responses),
        lengths,
        scores,
        declined,
        first,
        second,
        _verdict(record, objectives, scores, places),
    )


def _scores(record: Record, objectives: Sequence[Objective]) -> tuple[Array, Array]:
    place = {name: k for k, name in enumerate(names(objectives))}
    scores = np.full((len(record.responses), len(objectives)), np.nan)
    declined = np.zeros(len(objectives))
    for row, response in zip(scores, record.responses, strict=True):
        for name, score in aggregate(response).items():
            if score is not None:
                row[place[name]] = score
            else:
                declined[place[name]] += 1
    return scores, declined


@lru_cache(maxsize=256)
def _places(num: int) -> Places:
    return np.unique(np.linspace(0, num - 1, min(num, MOST_REPLIES)).round().astype(np.int64))


@lru_cache(maxsize=256)
def _both_sides(num: int) -> tuple[Places, Places]:
    first, second = np.triu_indices(num, 1)
    return first, second


def _verdict(record: Record, objectives: Sequence[Objective], scores: Array, places: Places) -> Array:
    first, second = _both_sides(len(places))
    if record.comparisons or record.rankings:
        return evidence(among(record, places), (*objectives, OVERALL)).verdict[first, second]
    signed = scores[places] * direction_signs(objectives)
    unsaid = np.full((len(first), 1), np.nan)
    return np.hstack([np.sign(signed[first] - signed[second]), unsaid])


def among(record: Record, places: Places) -> Record:
    """The record with only these replies and what is said about them; judgements without an objective get a name."""
    new = {int(place): number for number, place in enumerate(places)}
    return replace(
        record,
        responses=tuple(record.responses[place] for place in new),
        comparisons=tuple(
            replace(item, first=new[item.first], second=new[item.second], objective=_name(item))
            for item in record.comparisons
            if item.first in new and item.second in new
        ),
        rankings=tuple(replace(item, tiers=_tiers(item, new), objective=_name(item)) for item in record.rankings),
    )


def _tiers(ranking: Ranking, new: dict[int, int]) -> tuple[tuple[int, ...], ...]:
    tiers = [tuple(new[place] for place in tier if place in new) for tier in ranking.tiers]
    return tuple(tier for tier in tiers if tier)


def _name(item: Comparison | Ranking) -> str:
    return OVERALL.name if item.objective is None else item.objective

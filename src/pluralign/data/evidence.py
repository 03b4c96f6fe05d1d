"""What a record says about each pair of its responses, per objective, whether by scores, comparisons or rankings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from pluralign.data.objective import Objective, names
from pluralign.data.record import Comparison, Record, Response

Array = NDArray[np.float64]
_SIGN = {"first": 1.0, "second": -1.0, "tie": 0.0}


def aggregate(response: Response) -> dict[str, float | None]:
    """One score per objective: `scores` where given, else the mean over the raters' ratings.

    An objective that every rater declined stays None (abstain); one that nobody was asked about stays absent.
    """
    given: dict[str, list[float | None]] = {}
    for rating in response.ratings:
        for name, score in rating.scores.items():
            given.setdefault(name, []).append(score)
    means = {name: _mean([score for score in scores if score is not None]) for name, scores in given.items()}
    return {**means, **response.scores}


def _mean(scores: list[float]) -> float | None:
    return sum(scores) / len(scores) if scores else None


def direction_signs(objectives: Sequence[Objective]) -> Array:
    """[K]: 1 where higher is better, -1 where lower is."""
    return np.array([1.0 if objective.direction == "higher" else -1.0 for objective in objectives])


def score_row(response: Response, objectives: Sequence[Objective]) -> Array:
    """The aggregate scores [K] in the source's units; NaN where missing or abstained."""
    scores = aggregate(response)
    return np.array([np.nan if (score := scores.get(name)) is None else score for name in names(objectives)])


def parts(scores: Array, objectives: Sequence[Objective]) -> Array:
    """Scores [..., K] as parts of their ranges, more is better (a 'lower' objective turned round)."""
    low, high = (np.array([getattr(each, end) for each in objectives]) for end in ("low", "high"))
    share = (scores - low) / (high - low)
    turned: Array = np.where(direction_signs(objectives) > 0, share, 1 - share)
    return turned


@dataclass(frozen=True, slots=True)
class Evidence:
    """For responses i and j and objective k, always so that more is better:

    `size` [N, N, K]: by how much i beats j: the score difference where both are scored, else the mean signed strength
    of the comparisons; NaN when unknown. `verdict` [N, N, K]: 1, -1 or 0 (tie); NaN when nobody said.
    """

    size: Array
    verdict: Array

    def pairs(self) -> Iterator[tuple[int, int]]:
        """The unordered pairs i < j, in the record's order."""
        return combinations(range(len(self.verdict)), 2)


def evidence(record: Record, objectives: Sequence[Objective]) -> Evidence:
    """Everything said per objective. Scores go before comparisons; several raters are settled by the majority.

    Overall judgements (objective None) and objectives that are not asked for are left out; abstentions say nothing.
    A 'lower' objective's scores are negated; a comparison or ranking says "better" already and is not.
    """
    signed = [score_row(response, objectives) * direction_signs(objectives) for response in record.responses]
    scores = np.array(signed).reshape(len(record.responses), len(objectives))
    difference = scores[:, None] - scores[None]
    votes, strengths = _comparisons(record, objectives)
    size = np.where(np.isnan(difference), strengths, difference)
    return Evidence(size, np.where(np.isnan(difference), votes, np.sign(difference)))


def _comparisons(record: Record, objectives: Sequence[Objective]) -> tuple[Array, Array]:
    shape = (len(record.responses), len(record.responses), len(objectives))
    net, asked, strength, sized = (np.zeros(shape) for _ in range(4))
    place = {name: k for k, name in enumerate(names(objectives))}
    for item in (*record.comparisons, *_ranked(record)):
        if item.objective not in place or item.outcome == "abstain":
            continue
        sign, k = _SIGN[item.outcome], place[item.objective]
        for i, j, side in ((item.first, item.second, 1.0), (item.second, item.first, -1.0)):
            net[i, j, k] += side * sign
            asked[i, j, k] += 1
            strength[i, j, k] += side * sign * (item.strength or 0.0)
            sized[i, j, k] += sign == 0 or item.strength is not None
    with np.errstate(invalid="ignore"):
        votes = np.where(asked > 0, np.sign(net), np.nan)
        # the strength counts only if every voter gave one and it does not contradict the majority
        usable = (asked > 0) & (sized == asked) & (np.sign(strength) == np.sign(net))
        return votes, np.where(usable, strength / asked, np.nan)


def _ranked(record: Record) -> Iterator[Comparison]:
    for ranking in record.rankings:
        if ranking.objective is None:
            continue
        placed = [(tier, place) for tier, places in enumerate(ranking.tiers) for place in places]
        for (upper, first), (lower, second) in combinations(placed, 2):
            yield Comparison(first, second, "tie" if upper == lower else "first", ranking.objective)

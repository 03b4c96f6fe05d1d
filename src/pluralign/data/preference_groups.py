"""Preference groups: people who want the same, found from which replies each of them preferred (EM over people).

    E   r_uk ∝ p_k Π_{pairs of u} σ(w_k·(φ⁺ − φ⁻))                       soft;  hard: all of u to the largest, p_k alike
    M   w_k = argmax_w Σ_u r_uk Σ_{pairs of u} log σ(w·(φ⁺ − φ⁻)) − κ/2 |w|²,    p_k = mean_u r_uk

A group's reward is r_k = w_k·φ, Bradley-Terry with ridge κ: the M step is convex and solved, so that the penalised
log-likelihood Σ_u log Σ_k p_k Π σ(..) − κ/2 Σ_k |w_k|² (hard: with the maximum in the place of the sum, without p_k)
never falls. It has many local maxima, so several starts are made and the best one is kept.

Source: MaxMin-RLHF (Chakraborty et al. 2024, arXiv 2402.08925; methods.md C7), whose r_k are reward models. Letters:
P pairs, F features, U people, K groups.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pluralign.data.evidence import Array, parts
from pluralign.data.objective import Objective, names
from pluralign.data.record import Rating, Record
from pluralign.errors import ConfigError, DataError

Places = NDArray[np.intp]
Assignment = Literal["hard", "soft"]
_SIGN = {"first": 1.0, "second": -1.0}
_SAME = 1e-6  # of the likelihood, in nats: no step forward


class Preferred(NamedTuple):
    """Person `rater` finds reply `better` of record number `record` better than its reply `worse`."""

    rater: str
    record: int
    better: int
    worse: int


@dataclass(frozen=True, slots=True)
class PreferenceGroups:
    """`shares` [U, K]: how far each person belongs to each group, the largest group first; `weights` [K, F] of the groups'
    rewards; `likelihood` after every step, in nats."""

    shares: Array
    weights: Array
    likelihood: tuple[float, ...]

    @property
    def group(self) -> Places:
        """The likeliest group of each person [U]."""
        return np.asarray(self.shares.argmax(1))


def preferred(records: Sequence[Record], objectives: Sequence[Objective]) -> Iterator[Preferred]:
    """What each rater with an id preferred, all things considered: the sum of their comparisons and rankings (overall ones
    and those of the objectives) and of the mean difference of their ratings, in parts of the objectives' ranges; a pair
    without a winner is left out."""
    for number, record in enumerate(records):
        for rater, votes in _votes(record, objectives).items():
            told = ((i, j) if net > 0 else (j, i) for (i, j), net in votes.items() if abs(net) > 1e-9)
            yield from (Preferred(rater, number, *pair) for pair in told)


def _votes(record: Record, objectives: Sequence[Objective]) -> dict[str, dict[tuple[int, int], float]]:
    """By rater, by pair i < j: above 0 for i."""
    found: dict[str, dict[tuple[int, int], float]] = defaultdict(lambda: defaultdict(float))
    asked = {None, *names(objectives)}
    for item in record.comparisons:
        if item.objective in asked and item.rater is not None and item.rater.id is not None:
            sign = _SIGN.get(item.outcome, 0.0) * (1 if item.first < item.second else -1)
            found[item.rater.id][min(item.first, item.second), max(item.first, item.second)] += sign
    for ranking in record.rankings:
        if ranking.objective in asked and ranking.rater is not None and ranking.rater.id is not None:
            place = {reply: tier for tier, replies in enumerate(ranking.tiers) for reply in replies}
            for i, j in combinations(sorted(place), 2):
                found[ranking.rater.id][i, j] += float(np.sign(place[j] - place[i]))
    for rater, rows in _rated(record, objectives).items():
        for i, j in combinations(sorted(rows), 2):
            both = rows[i] - rows[j]
            if not np.isnan(both).all():
                found[rater][i, j] += float(np.nanmean(both))
    return found


def _rated(record: Record, objectives: Sequence[Objective]) -> dict[str, dict[int, Array]]:
    """By rater, by reply: parts of the objectives' ranges [K], NaN where not rated."""
    found: dict[str, dict[int, Array]] = defaultdict(dict)
    for number, reply in enumerate(record.responses):
        for rating in reply.ratings:
            if rating.rater is not None and rating.rater.id is not None:
                found[rating.rater.id][number] = parts(_row(rating, objectives), objectives)
    return found


def _row(rating: Rating, objectives: Sequence[Objective]) -> Array:
    scores: Mapping[str, float | None] = rating.scores
    return np.array([np.nan if (score := scores.get(name)) is None else score for name in names(objectives)])


def preference_groups(
    differences: Array,
    people: Places,
    num: int,
    *,
    penalty: float = 100.0,
    assignment: Assignment = "hard",
    starts: int = 10,
    most: int = 50,
    seed: int = 0,
) -> PreferenceGroups:
    """`num` groups of people from differences of features φ⁺ − φ⁻ [P, F] and who said so, `people` [P] from 0.

    `penalty` is κ; at most `most` rounds from each of `starts` random groupings, repeatable for a seed. Raises
    ConfigError for settings out of range, DataError for fewer people than groups.
    """
    if assignment not in ("hard", "soft") or min(num, starts, most) < 1 or not 0 < penalty < np.inf:
        raise ConfigError(
            f"assignment is hard or soft, groups, starts and rounds from 1, the penalty above 0; got {assignment!r}, {num}, "
            f"{starts}, {most}, {penalty}"
        )
    count = int(people.max()) + 1 if len(people) else 0
    if count < num:
        raise DataError(f"{count} raters cannot make {num} groups; ask for fewer groups, or give more rater ids")
    best: PreferenceGroups | None = None
    for start in range(starts if num > 1 else 1):
        rng = np.random.default_rng([seed, start])
        begin = np.eye(num)[rng.permutation(np.arange(count) % num)]
        found = _climb(differences, people, begin, penalty, assignment == "hard", most)
        if best is None or found.likelihood[-1] > best.likelihood[-1] + _SAME:
            best = found
    assert best is not None
    order = np.argsort(-np.bincount(best.group, minlength=num), kind="stable")
    return PreferenceGroups(best.shares[:, order], best.weights[order], best.likelihood)


def _climb(
    differences: Array, people: Places, shares: Array, penalty: float, hard: bool, most: int
) -> PreferenceGroups:
    """EM from a grouping [U, K] until the likelihood stands still."""
    weights = np.zeros((shares.shape[1], differences.shape[1]))
    trace: list[float] = []
    for _ in range(most):
        weights = np.array(
            [_fit(differences, share, penalty, w) for share, w in zip(shares[people].T, weights, strict=True)]
        )
        prior = np.zeros(len(weights)) if hard else np.log(np.maximum(shares.mean(0), 1e-300))
        told = prior + by_person(differences, people, weights)
        shares = _shares(told, hard)
        trace.append(float(_total(told, hard) - penalty / 2 * (weights**2).sum()))
        if len(trace) > 1 and trace[-1] - trace[-2] < _SAME:
            break
    return PreferenceGroups(shares, weights, tuple(trace))


def by_person(differences: Array, people: Places, weights: Array) -> Array:
    """Σ log σ(w_k·Δφ) over each person's pairs [U, K]."""
    found = np.zeros((int(people.max()) + 1, len(weights)))
    np.add.at(found, people, -np.logaddexp(0.0, -differences @ weights.T))
    return found


def _shares(told: Array, hard: bool) -> Array:
    """The E step, [U, K]."""
    if hard:
        return np.asarray(np.eye(told.shape[1])[told.argmax(1)])
    odds = np.exp(told - told.max(1, keepdims=True))
    return np.asarray(odds / odds.sum(1, keepdims=True))


def _total(told: Array, hard: bool) -> float:
    """Σ_u log of the sum over groups; hard: of the largest."""
    return float(told.max(1).sum() if hard else np.logaddexp.reduce(told, axis=1).sum())


def _fit(differences: Array, share: Array, penalty: float, start: Array) -> Array:
    """The M step of one group: w [F] from pairs that count `share` [P] each; never worse than `start`."""
    from scipy.optimize import minimize
    from scipy.special import expit

    used = share > 1e-12
    kept, counts = differences[used], share[used]

    def loss(w: Array) -> tuple[float, Array]:
        margin = kept @ w
        value = float(counts @ np.logaddexp(0.0, -margin) + penalty / 2 * w @ w)
        return value, penalty * w - kept.T @ (counts * expit(-margin))

    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200})
    return np.asarray(found.x if found.fun <= loss(start)[0] else start)

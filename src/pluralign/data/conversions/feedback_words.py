"""Feedback words: quantiles of a reward, in words: the best fifth of the replies is "Excellent", the worst "Horrible".

ALT (Abadal Lloret et al. 2024; methods.md A14) and Quark (Lu et al. 2022, arXiv 2205.13636; A15): rewards sorted from
best to worst, K equal bins, what does not divide goes to the worst bin. Per prompt (ALT's summaries) or over the whole
pool (Quark, ALT's toxicity).

Fixed where the papers are silent: equal rewards share a word, that of their mean rank (`ties` "order" takes them as
sorted, as the public code does); fewer replies than bins are spread, rank r of n to bin (r + ½)K/n, so that a single
reply gets the middle word (`rule` "public" calls all of them worst); `rule` "even" spreads always.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pluralign.data.condition import Feedback, Weights, vector
from pluralign.data.evidence import Array, direction_signs, score_row
from pluralign.data.group import Group
from pluralign.data.objective import Objective
from pluralign.data.record import Record
from pluralign.errors import ConfigError

QUALITY = ("Excellent", "Good", "Mediocre", "Bad", "Horrible")
TOXICITY = ("Lowest Toxicity", "Low-Moderate Toxicity", "Moderate Toxicity", "High-Moderate Toxicity",
            "Maximum Toxicity")  # fmt: skip
SCOPES, TIES, RULES = ("prompt", "global"), ("share", "order"), ("paper", "public", "even")
Places = NDArray[np.intp]


def feedback_words(
    records: Iterable[Record],
    objectives: Sequence[Objective],
    weights: Weights | None = None,
    words: Sequence[str] = QUALITY,
    scope: str = "prompt",
    ties: str = "share",
    rule: str = "paper",
) -> Iterator[Group]:
    """One group for each rewarded reply, to be imitated under its word (Feedback); words go from best to worst.

    The reward is λ·s with scores as parts of their ranges, more is better (plain mean by default); a reply that lacks
    a score that counts is left out. `scope` "global" reads the records twice and keeps 8 bytes per reply.
    Raises ConfigError for an unknown option, or a one-way iterator in two passes.
    """
    _check("scope", scope, SCOPES)
    factor = _factor(objectives, weights)
    if scope == "prompt":
        for record in records:
            rewards = _rewards(record, objectives, factor)
            yield from _worded(record, iter(quantiles(rewards, len(words), ties, rule)), words)
        return
    if isinstance(records, Iterator):
        raise ConfigError("global quantiles need two passes: give a list or a Dataset, not an iterator")
    pool = array("d")
    for record in records:
        pool.extend(_rewards(record, objectives, factor))
    places = iter(quantiles(np.frombuffer(pool, dtype=np.float64), len(words), ties, rule))
    for record in records:
        yield from _worded(record, places, words)


def quantiles(rewards: ArrayLike, num: int, ties: str = "share", rule: str = "paper") -> Places:
    """The bin of each reward [N], 0 for the best to num - 1 for the worst; -1 for NaN. Raises ConfigError."""
    _check("ties", ties, TIES)
    _check("rule", rule, RULES)
    if num < 1:
        raise ConfigError("quantiles need at least one word")
    values = np.asarray(rewards, dtype=np.float64)
    bins = np.full(values.shape, -1, dtype=np.intp)
    known = ~np.isnan(values)
    bins[known] = _binned(_ranks(values[known], ties), num, rule)
    return bins


def _ranks(values: Array, ties: str) -> Array:
    """Ranks from 0 (the best)."""
    if ties == "order":
        ranks = np.empty(len(values))
        ranks[np.argsort(-values, kind="stable")] = np.arange(len(values))
        return ranks
    _, place, counts = np.unique(-values, return_inverse=True, return_counts=True)
    means: Array = (np.cumsum(counts) - (counts + 1) / 2)[place]
    return means


def _binned(ranks: Array, num: int, rule: str) -> Places:
    size = len(ranks) // num
    if rule == "public" and not size:
        return np.full(len(ranks), num - 1, dtype=np.intp)
    if rule == "even" or not size:
        return np.floor((ranks + 0.5) * num / max(len(ranks), 1)).astype(np.intp)
    return np.minimum(np.floor(ranks / size), num - 1).astype(np.intp)


def _factor(objectives: Sequence[Objective], weights: Weights | None) -> Array:
    share = np.full(len(objectives), 1 / len(objectives)) if weights is None else vector(weights, objectives)
    factor: Array = share * direction_signs(objectives) / np.array([each.high - each.low for each in objectives])
    return factor


def _rewards(record: Record, objectives: Sequence[Objective], factor: Array) -> list[float]:
    counted = factor != 0
    return [float((score_row(reply, objectives) * factor)[counted].sum()) for reply in record.responses]


def _worded(record: Record, places: Iterator[np.intp], words: Sequence[str]) -> Iterator[Group]:
    for reply in record.responses:
        place = int(next(places))
        if place >= 0:
            yield Group.of(record, [reply], (Feedback(words[place]),))


def _check(option: str, given: str, allowed: Sequence[str]) -> None:
    if given not in allowed:
        raise ConfigError(f"{option} is one of {', '.join(allowed)}, got {given!r}")

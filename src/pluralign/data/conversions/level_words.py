"""Level words: on each objective, the quantile that a reply falls into; several of them said together make a phrase.

ALT (Abadal Lloret et al. 2024; methods.md A14) bins one reward, Quark (arXiv 2205.13636; A15) too. With several
objectives each has its own bins (`feedback_words.quantiles`), and feedback speaks of some of them, as people do. The
worth of a phrase is the mean score of the replies that it is true of.

Letters: N replies, A axes (the objectives, or one for the whole), K objectives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pluralign.data import simplex
from pluralign.data.conversions.feedback_words import SCOPES, quantiles
from pluralign.data.evidence import Array, parts, score_row
from pluralign.data.objective import Objective, names
from pluralign.data.record import Message, Record, Response
from pluralign.errors import ConfigError

Said = tuple[tuple[str, int], ...]
"""(axis, level) of everything that a phrase says; level 0 is the best."""
_MOST_TOGETHER = 3  # objectives in a phrase, where there are too many to try all sets
_FEW = 8
_TRIALS = 2000


@dataclass(frozen=True, slots=True)
class Levelled:
    """`replies` [N] as (record, response); `prompts` [N], equal numbers for equal prompts; `levels` [N, A], 0 the best,
    -1 unknown; `scores` [N, K] as parts of their ranges, more is better, NaN unknown; `axes` [A], "" for the whole."""

    replies: list[tuple[Record, Response]]
    prompts: NDArray[np.intp]
    levels: NDArray[np.intp]
    scores: Array
    axes: tuple[str, ...]

    def said(self, reply: int, axes: Sequence[int]) -> Said:
        """What can be said of a reply on some axes, in their order."""
        return tuple((self.axes[axis], int(level)) for axis in sorted(axes) if (level := self.levels[reply, axis]) >= 0)


def usable(records: Sequence[Record]) -> list[tuple[Record, Response]]:
    """The replies to learn from: not empty, not corrupted."""
    return [(r, reply) for r in records for reply in r.responses if reply.text and not reply.extra.get("corrupted")]


def by_scores(
    records: Sequence[Record],
    objectives: Sequence[Objective],
    num: int,
    *,
    whole: bool = False,
    scope: str = "prompt",
    ties: str = "share",
    rule: str = "paper",
) -> Levelled:
    """Quantiles (`num` of them) of every objective, or of the mean of all (`whole`; a reply needs all scores).

    `scope`: within the replies of a prompt, or over all. Records of one prompt are taken together.
    """
    if scope not in SCOPES:
        raise ConfigError(f"scope is one of {', '.join(SCOPES)}, got {scope!r}")
    replies = usable(records)
    prompts, scores = _numbered(replies), scores_of(replies, objectives)
    rewards = scores.mean(1, keepdims=True) if whole else scores
    levels = np.full(rewards.shape, -1, dtype=np.intp)
    for places in _together(prompts) if scope == "prompt" else [np.arange(len(replies))]:
        for axis in range(rewards.shape[1]):
            levels[places, axis] = quantiles(rewards[places, axis], num, ties, rule)
    return Levelled(replies, prompts, levels, scores, ("",) if whole else tuple(names(objectives)))


def by_category(
    records: Sequence[Record], objectives: Sequence[Objective], level_of: Callable[[Response], int | None]
) -> Levelled:
    """One axis: the level that `level_of` reads from a reply (a judge's category); replies without one are left out."""
    found = [(record, reply, level_of(reply)) for record, reply in usable(records)]
    replies = [(record, reply) for record, reply, level in found if level is not None]
    levels = np.array([level for *_, level in found if level is not None], dtype=np.intp).reshape(-1, 1)
    return Levelled(replies, _numbered(replies), levels, scores_of(replies, objectives), ("",))


def scores_of(replies: Sequence[tuple[Record, Response]], objectives: Sequence[Objective]) -> Array:
    """Scores [N, K] as parts of their ranges, more is better; NaN unknown."""
    rows = np.array([score_row(reply, objectives) for _, reply in replies]).reshape(len(replies), len(objectives))
    return parts(rows, objectives)


def balanced(table: Levelled, each: int | None, rng: np.random.Generator) -> list[tuple[int, int]]:
    """(reply, axis): for every prompt, axis and level, `each` replies drawn at random; none takes all.

    Replies that were cut off are taken only where whole ones are too few (the paper's draw).
    """
    found = []
    finished = np.array([reply.finished for _, reply in table.replies], dtype=np.bool_)
    for places in _together(table.prompts):
        for axis, level in _cells(table, places):
            members = places[table.levels[places, axis] == level]
            order = rng.permutation(len(members))
            order = order[np.argsort(~finished[members[order]], kind="stable")]
            found += [(int(members[place]), axis) for place in order[:each]]
    return found


def worth(table: Levelled, support: int, sizes: Literal["one", "some", "all"] = "some") -> tuple[list[Said], Array]:
    """Phrases that stand for trade-offs, and their worth [phrases, K].

    `sizes`: of how many axes phrases may speak. one: each level of each axis alone; some: these first, then sets; all:
    every axis at once, what a model has seen whose every reply was told everything.

    The worth is the mean score of the replies that the phrase is true of, drawn to the mean of all as if `support`
    more replies had it; phrases of several axes need `support` replies. Of those only the ones are kept that serve some
    weights best (of many drawn ones).
    """
    known = table.scores if len(table.replies) else np.zeros((0, table.scores.shape[1]))
    there = ~np.isnan(known)
    overall = np.where(there.any(0), np.nansum(known, axis=0) / np.maximum(there.sum(0), 1), 0.5)
    scores = np.where(np.isnan(known), overall, known)
    num = len(table.axes)
    singles = [each for axis in range(num) for each in _phrases(table, (axis,), scores, overall, 1, support)]
    least = max(num, 2) if sizes == "all" else 2  # of one axis there is nothing else to say
    most = {"one": 1, "some": num if num <= _FEW else _MOST_TOGETHER, "all": num}[sizes]
    together = [
        each
        for size in range(least, most + 1)
        for axes in combinations(range(num), size)
        for each in _phrases(table, axes, scores, overall, support, support)
    ]
    if sizes == "all" and together:
        singles = []
    said, values = [one for one, _ in singles + together], np.array([value for _, value in singles + together])
    if not said:
        return [], values.reshape(0, len(overall))
    serving = set((trials(len(overall)) @ values.T).argmax(1).tolist())
    kept = [place for place in range(len(said)) if place < len(singles) or place in serving]
    return [said[place] for place in kept], values[kept]


def trials(num: int) -> Array:
    """Weights [trials, K] to try phrases on: the report's, and drawn ones (always the same)."""
    drawn: Array = np.concatenate([simplex.report_grid(num), simplex.draw(np.random.default_rng(0), _TRIALS, num)])
    return drawn


def _phrases(
    table: Levelled, axes: tuple[int, ...], scores: Array, overall: Array, least: int, prior: int
) -> Iterator[tuple[Said, Array]]:
    """Phrases about exactly these axes that are true of `least` replies, with their worth."""
    levels = table.levels[:, axes]
    places = np.flatnonzero((levels >= 0).all(1))
    combos, inverse, counts = np.unique(levels[places], axis=0, return_inverse=True, return_counts=True)
    sums = np.zeros((len(combos), scores.shape[1]))
    np.add.at(sums, inverse.reshape(-1), scores[places])
    for combo, total, count in zip(combos, sums, counts, strict=True):
        if count >= least:
            said = tuple((table.axes[axis], int(level)) for axis, level in zip(axes, combo, strict=True))
            yield said, (total + prior * overall) / (count + prior)


def _cells(table: Levelled, places: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """(axis, level) that some of these replies have."""
    for axis in range(len(table.axes)):
        yield from ((axis, int(level)) for level in np.unique(table.levels[places, axis]) if level >= 0)


def _numbered(replies: Sequence[tuple[Record, Response]]) -> NDArray[np.intp]:
    seen: dict[tuple[Message, ...], int] = {}
    return np.array([seen.setdefault(record.messages, len(seen)) for record, _ in replies], dtype=np.intp)


def _together(prompts: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Places of the replies of each prompt."""
    order = np.argsort(prompts, kind="stable")
    edges = np.flatnonzero(np.diff(prompts[order])) + 1
    return np.split(order, edges) if len(order) else []

"""What ALT's feedback says of replies: the category of each, and how the categories' shares go from round to round.

A judge's categories are taken as given. Where the feedback is quantile words, every word's share in a round is fixed by
construction; replies are counted in the quantiles of the first round instead, which the start model drew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pluralign.data import jsonl
from pluralign.data.evidence import parts
from pluralign.data.objective import Objective
from pluralign.data.record import Record
from pluralign.scorers.contract import Scorer

Floats = NDArray[np.float64]


@dataclass
class Levels:
    """Which category a scored reply is of, 0 the best: the words of a policy, and the edges between their quantiles.

    `edges` are taken from the first replies that are asked about and have scores alone; from then on they stay.
    """

    words: tuple[str, ...]
    objectives: tuple[Objective, ...]
    edges: Floats | None = None

    def of(self, records: Sequence[Record]) -> list[int | None]:
        """One per reply, in order; None for one without a category or a score."""
        said, scores = _categories(records, self.words), overall(records, self.objectives)
        if any(level is not None for level in said):
            return said
        known = scores[np.isfinite(scores)]
        if self.edges is None and len(known):
            num = len(self.words)
            self.edges = np.quantile(known, np.arange(num - 1, 0, -1) / num)
        if self.edges is None:
            return said
        return [None if np.isnan(score) else int((score < self.edges).sum()) for score in scores]

    def shares(self, records: Sequence[Record]) -> list[float]:
        """Of each word among the replies that have a category; they sum to 1. NaN without any."""
        counted = [level for level in self.of(records) if level is not None]
        num = len(counted)
        return [counted.count(level) / num if num else float("nan") for level in range(len(self.words))]


@dataclass
class Heard:
    """A scorer that keeps what it said last: an evaluation keeps scores alone, and categories are comments."""

    scorer: Scorer
    last: list[Record] = field(default_factory=list)

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """Those of the scorer."""
        return tuple(self.scorer.objectives)

    def score(self, records: Iterable[Record]) -> Iterator[Record]:
        """What the scorer says, kept in `last`."""
        self.last = list(self.scorer.score(records))
        yield from self.last


def rounds(run: Path, levels: Levels) -> Iterator[dict[str, Any]]:
    """Of every round of a run: `shares` of each category [words], `truncated`, the mean `score` as a part of the ranges,
    and how many `replies` there were."""
    places = sorted((run / "stages").glob("pool-*"), key=lambda place: int(place.name.rpartition("-")[2]))
    for place in places:
        records = list(jsonl.read(place / "scored.jsonl"))
        scores = overall(records, levels.objectives)
        finished = [reply.finished for record in records for reply in record.responses]
        yield {
            "shares": levels.shares(records),
            "truncated": 1 - float(np.mean(finished)) if finished else float("nan"),
            "score": float(np.nanmean(scores)) if np.isfinite(scores).any() else float("nan"),
            "replies": len(finished),
        }


def overall(records: Sequence[Record], objectives: Sequence[Objective]) -> Floats:
    """Each reply's mean score as a part of the ranges, more being better [N]; NaN where none is known."""
    from pluralign.evaluation.sampled import scores_of

    alone = [replace(record, responses=(reply,)) for record in records for reply in record.responses]
    return mean_part(scores_of(alone, objectives).reshape(len(alone), len(objectives)), objectives)


def mean_part(scores: Floats, objectives: Sequence[Objective]) -> Floats:
    """Of scores [N, K] their mean over the objectives as parts of the ranges, more being better [N]; NaN for none."""
    rows = parts(scores, objectives)
    known = np.isfinite(rows)
    return np.where(known.any(1), np.where(known, rows, 0).sum(1) / np.maximum(known.sum(1), 1), np.nan)


def _categories(records: Sequence[Record], words: Sequence[str]) -> list[int | None]:
    """The level of each reply's last comment that is a category."""
    levels = {word.casefold(): level for level, word in enumerate(words)}
    said = [
        [levels[text] for comment in reply.comments if (text := comment.text.strip().casefold()) in levels]
        for record in records
        for reply in record.responses
    ]
    return [found[-1] if found else None for found in said]

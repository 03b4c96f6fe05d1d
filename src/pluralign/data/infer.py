"""Objectives of records that declare none: their names as they occur, their ranges from the data."""

from __future__ import annotations

import math
from collections.abc import Iterable

from pluralign.data.objective import Objective
from pluralign.data.record import Record, Response, Scores


def infer(records: Iterable[Record]) -> tuple[Objective, ...]:
    """One streamed pass: every objective named by a score, rating, comparison, ranking or comment, in that order.

    The range is that of the scores seen, [0, 1] without scores, one unit wide above a single value; the direction is
    "higher", which the data cannot tell.
    """
    seen: dict[str, list[float]] = {}
    for record in records:
        for response in record.responses:
            _note_response(seen, response)
        for name in [item.objective for item in record.comparisons] + [item.objective for item in record.rankings]:
            _note(seen, name)
    return tuple(_objective(name, bounds) for name, bounds in seen.items())


def _note_response(seen: dict[str, list[float]], response: Response) -> None:
    _note_scores(seen, response.scores)
    for rating in response.ratings:
        _note_scores(seen, rating.scores)
    for comment in response.comments:
        _note(seen, comment.objective)


def _note_scores(seen: dict[str, list[float]], scores: Scores) -> None:
    for name, score in scores.items():
        _note(seen, name)
        if score is not None:
            bounds = seen[name]
            bounds[:] = [min([score, *bounds]), max([score, *bounds])]


def _note(seen: dict[str, list[float]], name: str | None) -> None:
    if name is not None:
        seen.setdefault(name, [])


def _objective(name: str, bounds: list[float]) -> Objective:
    if not bounds:
        return Objective(name)
    low, high = bounds
    if low == high:
        width = max(1.0, abs(low))
        low, high = (low, low + width) if math.isfinite(low + width) else (low - width, low)
    return Objective(name, low=low, high=high)

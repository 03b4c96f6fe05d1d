"""SummEval (Fabbri et al. 2021, arXiv 2007.12626): summaries that three experts and five crowd workers rated.

Read as flat rows or in the release's own columns. The source names no annotator, and crowd places are filled by
many people, so a rater has a group and no id.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from pluralign.data import cells
from pluralign.data.check import check
from pluralign.data.dataset import Dataset, OnError, convert
from pluralign.data.objective import Objective
from pluralign.data.record import Rater, Rating, Record, Response, user
from pluralign.data.strict import mapping_of, text, tuple_of

OBJECTIVES = (
    Objective("coherence", "the sentences together make a well-built whole", low=1, high=5),
    Objective("consistency", "says only what the article says", low=1, high=5),
    Objective("fluency", "each sentence is well written", low=1, high=5),
    Objective("relevance", "picks what matters in the article", low=1, high=5),
)
LICENCE = "MIT (annotations); the articles are CNN/DailyMail news, for research"
SOURCE = "SummEval (Fabbri et al. 2021, arXiv 2007.12626)"
HUB = None
_FLAT = ("article_id", "system", "prompt", "response", "expert_ratings", "crowd_ratings")
_RELEASE = ("id", "model_id", "text", "decoded", "expert_annotations", "turker_annotations")
_USED = {*_FLAT, *_RELEASE, "ratings"}
COLUMNS = f"{', '.join(_FLAT)}, ratings, references; or {', '.join(_RELEASE)}, references"


def recognise(row: dict[str, Any]) -> int:
    """Six, where the columns of either form are there."""
    return len(_FLAT) if set(row) >= set(_FLAT) or set(row) >= set(_RELEASE) else 0


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset, one summary per record: all raters apart, the experts' means as scores."""
    return Dataset(OBJECTIVES, partial(convert, path, _record, on_error), LICENCE, SOURCE, "summeval")


def _record(row: dict[str, Any], line: int) -> Record:
    columns = _RELEASE if "decoded" in row else _FLAT
    cells.need(row, columns)
    article, system, prompt, summary = (text(row[column], column) for column in columns[:4])
    experts, crowd = (_ratings(row[column], column, group) for column, group in zip(columns[4:], _GROUPS, strict=True))
    given = row.get("ratings")
    scores = _means(experts) if given is None else _scores(given, "ratings")
    response = Response(summary, scores, (*experts, *crowd), model=system)
    record = Record(
        user(prompt), (response,), id=f"{article}/{system}", source=SOURCE, extra=cells.rest(row, _USED - {"source"})
    )
    check(record, OBJECTIVES)
    return record


_GROUPS = ("expert", "crowd")


def _ratings(value: Any, where: str, group: str) -> tuple[Rating, ...]:
    given = tuple_of(lambda item, place: _scores(item, place))(value, where)
    return tuple(Rating(scores, Rater(group=group)) for scores in given)


def _scores(value: Any, where: str) -> dict[str, float | None]:
    given: dict[str, float | None] = mapping_of(cells.score)(value, where)
    return given


def _means(ratings: tuple[Rating, ...]) -> dict[str, float | None]:
    means: dict[str, float | None] = {}
    for objective in OBJECTIVES:
        given = [score for rating in ratings if (score := rating.scores.get(objective.name)) is not None]
        if given:
            means[objective.name] = sum(given) / len(given)
    return means

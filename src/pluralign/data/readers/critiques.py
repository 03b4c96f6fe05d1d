"""Human critiques of Shepherd (arXiv 2308.04592): one reply with two ratings and sentences of feedback."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from pluralign.data.check import check
from pluralign.data.dataset import Dataset, OnError, check_columns, convert
from pluralign.data.objective import Objective
from pluralign.data.record import Comment, Record, Response, user
from pluralign.data.strict import mapping_of, number, optional, text, tuple_of

OBJECTIVES = (
    Objective("justified", "the answer's reasons hold", low=1, high=5),
    Objective("relevant", "the answer is about the question", low=1, high=5),
)
LICENCE = "CC BY-NC 4.0"
SOURCE = "Shepherd human critiques (Wang et al. 2023, arXiv 2308.04592; facebookresearch/Shepherd)"
_COLUMNS = ("id", "source", "prompt", "response", "reference", "ratings", "error_types", "feedback", "flags")
COLUMNS = ", ".join(_COLUMNS)


def recognise(row: dict[str, Any]) -> int:
    """All nine columns, if they are all."""
    return len(_COLUMNS) if set(row) == set(_COLUMNS) else 0


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset: scores from the ratings, comments from the feedback, the rest in `extra`."""
    return Dataset(OBJECTIVES, partial(convert, path, _record, on_error), LICENCE, SOURCE, "critiques")


def _record(row: dict[str, Any], line: int) -> Record:
    check_columns(row, _COLUMNS)
    response = Response(
        text(row["response"], "response"),
        scores=mapping_of(optional(number))(row["ratings"], "ratings"),
        comments=tuple(Comment(words) for words in tuple_of(text)(row["feedback"], "feedback")),
        extra={key: list(tuple_of(text)(row[key], key)) for key in ("error_types", "flags")},
    )
    record = Record(
        user(text(row["prompt"], "prompt")),
        (response,),
        id=str(row["id"]),
        source=text(row["source"], "source"),
        extra={"reference": row["reference"]},
    )
    check(record, OBJECTIVES)
    return record

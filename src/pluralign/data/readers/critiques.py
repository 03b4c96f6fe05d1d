"""Human critiques of Shepherd (Wang et al. 2023, arXiv 2308.04592): one reply, two ratings, sentences of feedback.

Read as flat rows or in the release's own nested form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pluralign.data import cells
from pluralign.data.check import check
from pluralign.data.dataset import Dataset, OnError, convert
from pluralign.data.objective import Objective
from pluralign.data.record import Comment, Record, Response, user
from pluralign.data.strict import anything, fail, mapping_of, text, tuple_of

OBJECTIVES = (
    Objective("justified", "the answer's reasons hold", low=1, high=5),
    Objective("relevant", "the answer is about the question", low=1, high=5),
)
LICENCE = "CC BY-NC 4.0"
SOURCE = "Shepherd human critiques (Wang et al. 2023, arXiv 2308.04592; facebookresearch/Shepherd)"
HUB = None
_COLUMNS = ("prompt", "response", "ratings", "feedback")
_LISTS = ("error_types", "flags")
_RELEASE = ("latestLabel", "metadata")
# the release's names of the four questions put to a critic
_RATED = {"CLASSIFICATION_JOB": "justified", "CLASSIFICATION_JOB_1": "relevant"}
_NAMED = {"CLASSIFICATION_JOB_0": "error_types", "CLASSIFICATION_JOB_2": "flags"}
COLUMNS = f"{', '.join(_COLUMNS)}, id, source, reference, {', '.join(_LISTS)}; or {', '.join(_RELEASE)} as released"


def recognise(row: dict[str, Any]) -> int:
    """Four, where the flat columns are there and the ratings are an object; two for the release's form."""
    flat = isinstance(row.get("ratings"), dict) and set(row) >= set(_COLUMNS)
    return len(_COLUMNS) if flat else 2 * int(_is_release(row))


def _is_release(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("metadata"), dict) and "output_candidate" in row["metadata"] and "latestLabel" in row


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset: scores from the ratings, comments from the feedback, the rest in `extra`."""
    return Dataset(OBJECTIVES, partial(convert, path, _record, on_error), LICENCE, SOURCE, "critiques")


def _record(row: dict[str, Any], line: int) -> Record:
    row = _flat(row) if _is_release(row) else row
    cells.need(row, _COLUMNS)
    response = Response(
        text(row["response"], "response"),
        scores=mapping_of(cells.score)(row["ratings"], "ratings"),
        comments=tuple(Comment(words) for words in tuple_of(text)(row["feedback"], "feedback")),
        extra={key: list(tuple_of(text)(row[key], key)) for key in _LISTS if row.get(key) is not None},
    )
    record = Record(
        user(text(row["prompt"], "prompt")),
        (response,),
        id=f"line-{line}" if row.get("id") is None else str(row["id"]),
        source=text(row.get("source") or SOURCE, "source"),
        extra=cells.rest(row, (*_COLUMNS, *_LISTS, "id", "source")),
    )
    check(record, OBJECTIVES)
    return record


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """The release's row in flat columns: an answer "2 Not justified enough" is the rating 2, a text below it feedback."""
    about = mapping_of(anything)(row["metadata"], "metadata")
    flat: dict[str, Any] = {
        "prompt": about.get("context"),
        "response": about["output_candidate"],
        "reference": about.get("output_correct"),
        "ratings": {},
        "feedback": [],
        **cells.rest(about, ("context", "output_candidate", "output_correct")),
        **cells.rest(row, _RELEASE),
    }
    for job, category in _answers(row["latestLabel"]):
        name = text(category.get("categoryName"), f"{job}.categoryName")
        if job in _RATED:
            flat["ratings"][_RATED[job]] = name.split()[0] if name else name
        else:
            flat.setdefault(_NAMED.get(job, job), []).append(name)
        below = mapping_of(mapping_of(anything))(category.get("children") or {}, f"{job}.children")
        flat["feedback"] += [text(child.get("text"), f"{job}.text").strip() for child in below.values()]
    return flat


def _answers(label: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    answers = label.get("jsonResponse") if isinstance(label, dict) else None
    if not isinstance(answers, dict):
        fail("latestLabel", "an object with jsonResponse", label)
    for job, answer in answers.items():
        given = answer.get("categories") if isinstance(answer, dict) else None
        for category in tuple_of(mapping_of(anything))(given or [], f"{job}.categories"):
            yield job, category

"""UltraFeedback (arXiv 2310.01377): up to four replies to an instruction, four ratings with reasons each, a critique.

Ratings are texts of 1 to 5, or "N/A" (an abstention). The reasons become comments on their objective, the critique a
comment on the whole. Of the reasons of helpfulness and truthfulness, "Rationale For Rating" is about the rating and
"Rationale" about the types beside it; both are kept, the types in the reply's `extra`, as are the system prompt and the
principle that the reply was drawn under. That overall_score runs from 1 to 10 is the critics' prompt's word.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from pluralign.data.cells import need, rest, score
from pluralign.data.check import check
from pluralign.data.dataset import Dataset, OnError, convert
from pluralign.data.objective import Objective
from pluralign.data.record import Comment, Record, Response, user
from pluralign.data.strict import anything, mapping_of, optional, text, tuple_of

OBJECTIVES = (
    Objective("instruction_following", "does what the instruction asks for", low=1, high=5),
    Objective("honesty", "says how sure it is, and is as sure as it should be", low=1, high=5),
    Objective("truthfulness", "no made-up facts", low=1, high=5),
    Objective("helpfulness", "informative, correct and useful", low=1, high=5),
    Objective("overall_score", "the critic's mark for the whole", low=1, high=10),
)
LICENCE = "MIT"
HUB = "openbmb/UltraFeedback"
SOURCE = "UltraFeedback (Cui et al. 2023, arXiv 2310.01377; openbmb/UltraFeedback)"
_RATED = tuple(objective.name for objective in OBJECTIVES[:4])
_COLUMNS = ("instruction", "completions")
_REPLY = ("response", "model", "annotations", "critique", "overall_score")
_REASONS = ("Rationale", "Rationale For Rating")
COLUMNS = f"{', '.join(_COLUMNS)} (list of {', '.join(_REPLY)})"
_object = mapping_of(anything)


def recognise(row: dict[str, Any]) -> int:
    """Both columns, where the completions are a list."""
    return len(_COLUMNS) if "instruction" in row and isinstance(row.get("completions"), list) else 0


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset: the replies of an instruction with their scores and comments, the rest in `extra`."""
    return Dataset(OBJECTIVES, partial(convert, path, _record, on_error), LICENCE, SOURCE, "ultrafeedback")


def _record(row: dict[str, Any], line: int) -> Record:
    need(row, _COLUMNS)
    record = Record(
        user(text(row["instruction"], "instruction")),
        tuple_of(_response)(row["completions"], "completions"),
        id=f"ultrafeedback-{line}",
        source=HUB,
        extra=rest(row, _COLUMNS),
    )
    check(record, OBJECTIVES)
    return record


def _response(value: Any, where: str) -> Response:
    reply = _object(value, where)
    need(reply, ("response",))
    given = optional(mapping_of(optional(_object)))(reply.get("annotations"), f"{where}.annotations") or {}
    ratings = {name: given[name] for name in _RATED if given.get(name) is not None}
    overall = {} if reply.get("overall_score") is None else {"overall_score": reply["overall_score"]}
    marks = {name: rating["Rating"] for name, rating in ratings.items() if rating.get("Rating") is not None} | overall
    beside = {name: rest(rating, ("Rating", *_REASONS)) for name, rating in ratings.items()}
    kept = {**rest(given, _RATED), **{name: said for name, said in beside.items() if said}}
    return Response(
        text(reply["response"], f"{where}.response"),
        scores={name: score(mark, f"{where}.{name}") for name, mark in marks.items()},
        comments=_comments(ratings, reply, where),
        model=optional(text)(reply.get("model"), f"{where}.model"),
        extra=rest(reply, _REPLY) | ({"annotations": kept} if kept else {}),
    )


def _comments(ratings: dict[str, dict[str, Any]], reply: dict[str, Any], where: str) -> tuple[Comment, ...]:
    said = [(name, rating.get(reason)) for name, rating in ratings.items() for reason in _REASONS]
    words = [(name, optional(text)(reason, f"{where}.{name}")) for name, reason in said]
    critique = optional(text)(reply.get("critique"), f"{where}.critique")
    return tuple(Comment(reason, name) for name, reason in [*words, (None, critique)] if reason)

"""Debate questions with a statement for either side (Tessler et al. 2024, the Habermas Machine): for Overton-style tests.

Nobody judged the statements: they are the two ends of an answer.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from pluralign.data import cells
from pluralign.data.check import check
from pluralign.data.dataset import Dataset, OnError, convert
from pluralign.data.objective import Objective
from pluralign.data.record import Record, Response, user
from pluralign.data.strict import text

OBJECTIVES: tuple[Objective, ...] = ()
LICENCE = "CC BY 4.0"
SOURCE = "Questions of the Habermas Machine (Tessler et al. 2024; google-deepmind/habermas_machine)"
HUB = None
_COLUMNS = ("question", "affirming", "negating")
COLUMNS = ", ".join(_COLUMNS)


def recognise(row: dict[str, Any]) -> int:
    """Three, where all columns are there."""
    return len(_COLUMNS) if set(row) >= set(_COLUMNS) else 0


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset: the affirming statement first, then the negating one."""
    return Dataset(OBJECTIVES, partial(convert, path, _record, on_error), LICENCE, SOURCE, "policy_questions")


def _record(row: dict[str, Any], line: int) -> Record:
    cells.need(row, _COLUMNS)
    sides = tuple(Response(text(row[side], side), extra={"stance": side}) for side in _COLUMNS[1:])
    name = f"line-{line}" if row.get("id") is None else str(row["id"])
    extra = cells.rest(row, {*_COLUMNS, "id"})
    record = Record(user(text(row["question"], "question")), sides, id=name, source=SOURCE, extra=extra)
    check(record, OBJECTIVES)
    return record

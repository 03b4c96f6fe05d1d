"""RewardBench (arXiv 2403.13787): a prompt, the reply that ought to win, one that ought not, and the subset it tests.

The hub's splits are `raw` and `filtered` (the benchmark itself): allenai/reward-bench@filtered. RewardBench 2, whose
columns hold lists, is another format.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from pluralign.data.cells import need, rest
from pluralign.data.check import check
from pluralign.data.dataset import Dataset, OnError, convert
from pluralign.data.objective import Objective
from pluralign.data.record import Comparison, Record, Response, user
from pluralign.data.strict import fail, optional, text

OBJECTIVES: tuple[Objective, ...] = ()
LICENCE = "ODC-BY"
HUB = "allenai/reward-bench"
SOURCE = "RewardBench (Lambert et al. 2024, arXiv 2403.13787; allenai/reward-bench)"
_COLUMNS = ("prompt", "chosen", "rejected", "subset", "id")
COLUMNS = ", ".join(_COLUMNS) + ", chosen_model, rejected_model"


def recognise(row: dict[str, Any]) -> int:
    """All five columns, where the replies are texts."""
    texts = all(isinstance(row.get(column), str) for column in ("chosen", "rejected"))
    return len(_COLUMNS) if texts and set(_COLUMNS) <= set(row) else 0


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset: one overall comparison per record, the subset in `extra`."""
    return Dataset(OBJECTIVES, partial(convert, path, _record, on_error), LICENCE, SOURCE, "rewardbench")


def _record(row: dict[str, Any], line: int) -> Record:
    need(row, _COLUMNS)
    replies = tuple(
        Response(text(row[column], column), model=optional(text)(row.get(f"{column}_model"), f"{column}_model"))
        for column in ("chosen", "rejected")
    )
    record = Record(
        user(text(row["prompt"], "prompt")),
        replies,
        (Comparison(0, 1, "first"),),
        id=_id(row["id"]),
        source=HUB,
        extra={"subset": text(row["subset"], "subset"), **rest(row, (*_COLUMNS, "chosen_model", "rejected_model"))},
    )
    check(record, OBJECTIVES)
    return record


def _id(value: Any) -> str:
    known = isinstance(value, str | int) and not isinstance(value, bool)
    return str(value) if known else fail("id", "a number or a text", value)

"""USR ratings of Topical-Chat replies (Mehri & Eskenazi 2020, arXiv 2005.00456): six objectives, a mean of three raters.

The dialogue comes as one text with a line per turn of two people who alternate; the last line is the one to answer.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from pluralign.data import cells
from pluralign.data.check import check
from pluralign.data.dataset import Dataset, OnError, convert
from pluralign.data.objective import Objective
from pluralign.data.record import Message, Record, Response
from pluralign.data.strict import mapping_of, text
from pluralign.errors import DataError

OBJECTIVES = (
    Objective("understandability", "can be understood in the dialogue", low=0, high=1),
    Objective("naturalness", "is what a person would say", low=1, high=3),
    Objective("coherence", "goes on with the dialogue", low=1, high=3),
    Objective("engagingness", "is interesting", low=1, high=3),
    Objective("groundedness", "uses the given fact", low=0, high=1),
    Objective("overall", "is a good reply", low=1, high=5),
)
LICENCE = "MIT"
SOURCE = "USR Topical-Chat ratings (Mehri & Eskenazi 2020, arXiv 2005.00456)"
HUB = None
_COLUMNS = ("prompt", "fact", "system", "response", "ratings")
COLUMNS = ", ".join(_COLUMNS)


def recognise(row: dict[str, Any]) -> int:
    """Five, where all columns are there."""
    return len(_COLUMNS) if set(row) >= set(_COLUMNS) else 0


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset, one rated reply per record; the fact that the reply was to use is in `extra`."""
    return Dataset(OBJECTIVES, partial(convert, path, _record, on_error), LICENCE, SOURCE, "dialogue_ratings")


def _record(row: dict[str, Any], line: int) -> Record:
    cells.need(row, _COLUMNS)
    scores = mapping_of(cells.score)(row["ratings"], "ratings")
    response = Response(text(row["response"], "response"), scores, model=text(row["system"], "system"))
    extra = cells.rest(row, set(_COLUMNS) - {"fact"})
    record = Record(_turns(text(row["prompt"], "prompt")), (response,), id=f"line-{line}", source=SOURCE, extra=extra)
    check(record, OBJECTIVES)
    return record


def _turns(dialogue: str) -> tuple[Message, ...]:
    lines = [line.strip() for line in dialogue.split("\n") if line.strip()]
    if not lines:
        raise DataError("prompt holds no turn; expected a dialogue with one turn per line")
    return tuple(Message("user" if (len(lines) - place) % 2 else "assistant", line) for place, line in enumerate(lines))

"""Rater tables with demographics: one rating of one text by one person per row, as in POPQUORN (arXiv 2306.06826).

There is no prompt: people rated a text, not an answer. A record holds the text as the reply to an empty user turn,
and the rating with who gave it; `pluralign data convert --join` gathers the raters of a text into one record.

The columns are an item's id, a rater's id, the text, demographics (known by their names) and ratings: the known
ones below and every other column of numbers whose name does not look like a remark. The first row says which columns
those are. Ranges of unknown ratings come from a first pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pluralign.data import cells
from pluralign.data.check import check
from pluralign.data.dataset import Dataset, OnError, Tally, convert, first_row
from pluralign.data.infer import infer
from pluralign.data.objective import NAME, Objective
from pluralign.data.record import Rater, Rating, Record, Response, user
from pluralign.data.strict import fail, text
from pluralign.errors import DataError

_KNOWN = {
    "offensiveness": Objective("offensiveness", "offends the reader", 1, 5, "lower", safety=True),
    "politeness": Objective("politeness", "is polite", low=1, high=5),
}
LICENCE = "not declared by POPQUORN (the authors call it open source; do not redistribute)"
SOURCE = "POPQUORN (Pei & Jurgens 2023, arXiv 2306.06826)"
HUB = None
_ITEMS = ("item_id", "instance_id", "text_id", "comment_id")
_RATERS = ("user_id", "rater_id", "annotator_id", "worker_id", "annotator")
_TEXTS = ("text", "comment", "sentence")
DEMOGRAPHICS = {
    *("gender", "sex", "race", "ethnicity", "age", "age_group", "occupation", "education", "country", "nationality"),
    *("religion", "political_affiliation", "politics", "income", "sexual_orientation", "locale", "marital_status"),
}
_REMARKS = {"id", "index", "idx", "time", "timestamp", "duration", "order", "page", "row"}
COLUMNS = (
    f"an item's id ({', '.join(_ITEMS)}), a rater's ({', '.join(_RATERS)}), {' or '.join(_TEXTS)}, ratings "
    "(offensiveness 1-5, ...), gender, race, age, occupation, education ..."
)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Which columns of a table are what."""

    item: str
    rater: str
    text: str
    ratings: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.item, self.rater, self.text, *self.ratings)


def _layout(row: Mapping[str, Any]) -> _Layout | None:
    named = [next((name for name in names if name in row), None) for names in (_ITEMS, _RATERS, _TEXTS)]
    ratings = tuple(column for column, value in row.items() if column not in named and _is_rating(column, value))
    item, rater, words = named
    if item is None or rater is None or words is None or not ratings:
        return None
    return _Layout(item, rater, words, ratings)


def _is_rating(column: str, value: Any) -> bool:
    if column in _KNOWN:
        return True
    low = column.lower()
    if low in DEMOGRAPHICS | _REMARKS or low.endswith("_id") or not NAME.fullmatch(column):
        return False
    try:
        return value is not None and cells.score(value, column) is not None
    except DataError:
        return False


def recognise(row: dict[str, Any]) -> int:
    """Item, rater, text and the ratings, where all four are there and no column is a prompt or a reply."""
    layout = None if {"prompt", "response"} & set(row) else _layout(row)
    return 0 if layout is None else len(layout.columns)


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset, one rating per record. Raises DataError where the columns are not a rater table's."""
    row = first_row(path)
    layout = _layout(row)
    if layout is None:
        raise DataError(f"expected the columns {COLUMNS}; found {', '.join(row)}", path=path)
    popquorn = any(name in _KNOWN for name in layout.ratings)
    source = SOURCE if popquorn else None
    objectives: tuple[Objective, ...] = tuple(_KNOWN[name] for name in layout.ratings if name in _KNOWN)
    if len(objectives) < len(layout.ratings):
        found = {one.name: one for one in infer(convert(path, _reading(layout, None, source), on_error, Tally()))}
        objectives = tuple(_KNOWN.get(name) or found.get(name) or Objective(name) for name in layout.ratings)
    stream = partial(convert, path, _reading(layout, objectives, source), on_error)
    return Dataset(objectives, stream, LICENCE if popquorn else None, source, "rater_table")


def _reading(layout: _Layout, objectives: tuple[Objective, ...] | None, source: str | None) -> Any:
    def to_record(row: dict[str, Any], line: int) -> Record:
        cells.need(row, layout.columns)
        rater = Rater(id=_name(row[layout.rater], layout.rater), demographics=_demographics(row))
        rating = Rating(cells.scores(row, layout.ratings), rater)
        record = Record(
            user(""),
            (Response(text(row[layout.text], layout.text), ratings=(rating,)),),
            id=_name(row[layout.item], layout.item),
            source=source,
            extra=cells.rest(row, {*layout.columns, *rater.demographics}),
        )
        check(record, objectives)
        return record

    return to_record


def _name(value: Any, where: str) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else fail(where, "an id", value)


def _demographics(row: Mapping[str, Any]) -> dict[str, str]:
    """The demographics that are given as text or a number; anything else stays a remark in `extra`."""
    given = {column: value for column, value in row.items() if column.lower() in DEMOGRAPHICS}
    return {column: str(value) for column, value in given.items() if isinstance(value, str | int | float)}

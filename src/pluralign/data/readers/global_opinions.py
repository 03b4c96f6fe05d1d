"""GlobalOpinionQA (Durmus et al. 2023, arXiv 2306.16388): which share of a country's people chose each option.

Read as one row per question and country, or as the hub's row per question with all countries. The options are the
replies; a country's shares are ratings by the group that bears its name.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pluralign.data import cells
from pluralign.data.check import check
from pluralign.data.dataset import Dataset, OnError, convert
from pluralign.data.objective import Objective
from pluralign.data.record import Rater, Rating, Record, Response, user
from pluralign.data.strict import fail, mapping_of, text, tuple_of
from pluralign.errors import DataError

OBJECTIVES = (Objective("share", "share of the group's people who chose this option", low=0, high=1),)
LICENCE = "CC BY-NC-SA 4.0"
SOURCE = "GlobalOpinionQA (Durmus et al. 2023, arXiv 2306.16388; Pew Global Attitudes and World Values Survey)"
HUB = "Anthropic/llm_global_opinions"
_ROW, _HUB_ROW = ("question", "options", "group", "distribution"), ("question", "options", "selections")
COLUMNS = f"{', '.join(_ROW)}; or {', '.join(_HUB_ROW)}"


def recognise(row: dict[str, Any]) -> int:
    """How many columns of one of the two forms, where all of them are there."""
    return max(len(form) if set(row) >= set(form) else 0 for form in (_ROW, _HUB_ROW))


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset: a question per record, its options as replies, shares per country."""
    return Dataset(OBJECTIVES, partial(convert, path, _record, on_error), LICENCE, SOURCE, "global_opinions")


def _record(row: dict[str, Any], line: int) -> Record:
    hub = "selections" in row
    cells.need(row, _HUB_ROW if hub else _ROW)
    options = tuple_of(text)(_literal(row["options"], "options"), "options")
    by_group = _selections(row["selections"]) if hub else {text(row["group"], "group"): row["distribution"]}
    shares = {group: _shares(value, group, len(options)) for group, value in by_group.items()}
    responses = tuple(
        Response(
            option, ratings=tuple(Rating({"share": given[k]}, Rater(group=group)) for group, given in shares.items())
        )
        for k, option in enumerate(options)
    )
    record = Record(
        user(text(row["question"], "question")),
        responses,
        id=f"line-{line}" if row.get("id") is None else str(row["id"]),
        source=SOURCE,
        extra=cells.rest(row, {*_ROW, *_HUB_ROW, "id"}),
    )
    check(record, OBJECTIVES)
    return record


def _shares(value: Any, group: str, size: int) -> tuple[float | None, ...]:
    shares: tuple[float | None, ...] = tuple_of(cells.score)(value, f"the distribution of {group}")
    if len(shares) != size:
        raise DataError(f"the distribution of {group!r} has {len(shares)} shares for {size} options")
    return shares


def _selections(value: Any) -> Mapping[str, Any]:
    """A mapping, or the hub's text of one: "defaultdict(<class 'list'>, {'Spain': [0.5, 0.5]})"."""
    if isinstance(value, str) and "{" in value:
        value = _literal(value[value.index("{") : value.rindex("}") + 1], "selections")
    given: Mapping[str, Any] = mapping_of(lambda item, where: item)(value, "selections")
    return {group: item for group, item in given.items() if item is not None}  # Parquet fills up with null


def _literal(value: Any, where: str) -> Any:
    """A list or object, or a text of one as Python writes it."""
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return fail(where, "a list, or a text of one", value)

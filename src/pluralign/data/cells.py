"""Cells of other people's tables: numbers that may be text, and the many ways to write nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from pluralign.data.strict import fail, number
from pluralign.errors import DataError

_DECLINED = {"n/a", "na", "none", "nan", "null", "-"}


def score(value: Any, where: str) -> float | None:
    """A rating: a finite number, or a text of one (tables without types); "N/A" and its like are an abstention (None).

    A bool is no number. Raises DataError.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        return number(value, where)
    words = value.strip()
    if words.lower() in _DECLINED:
        return None
    try:
        found = float(words) if "_" not in words else math.nan
    except ValueError:
        found = math.nan
    return found if math.isfinite(found) else fail(where, 'a finite number or "N/A"', value)


def scores(row: Mapping[str, Any], columns: Iterable[str]) -> dict[str, float | None]:
    """The ratings of these columns: a null cell is missing (left out), "N/A" an abstention."""
    return {column: score(row[column], column) for column in columns if row.get(column) is not None}


def need(row: Mapping[str, Any], columns: Iterable[str]) -> None:
    """Raise DataError naming the expected and the found columns unless all of these are there (others may be)."""
    expected = list(columns)
    if any(column not in row for column in expected):
        raise DataError(f"expected the columns {', '.join(expected)}; found {', '.join(map(str, row)) or '(none)'}")


def rest(row: Mapping[str, Any], used: Iterable[str]) -> dict[str, Any]:
    """What a row says beyond the columns that were read, for `extra`: nothing is dropped."""
    known = set(used)
    return {key: value for key, value in row.items() if key not in known and value is not None}

"""Cells of other people's tables: numbers that may be text, and the many ways to write nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from pluralign.data.strict import anything, fail, number, text
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


def flag(value: Any, where: str) -> bool | None:
    """Yes or no: a bool, or a text of one (tables without types); a null cell is missing (None). Raises DataError."""
    if value is None or isinstance(value, bool):
        return value
    words = value.strip().lower() if isinstance(value, str) else ""
    return words == "true" if words in ("true", "false") else fail(where, "true or false", value)


def need(row: Mapping[str, Any], columns: Iterable[str]) -> None:
    """Raise DataError naming the expected and the found columns unless all of these are there (others may be)."""
    expected = list(columns)
    if any(column not in row for column in expected):
        raise DataError(f"expected the columns {', '.join(expected)}; found {', '.join(map(str, row)) or '(none)'}")


def rest(row: Mapping[str, Any], used: Iterable[str]) -> dict[str, Any]:
    """What a row says beyond the columns that were read, for `extra`: nothing is dropped, a null cell says nothing.

    Raises DataError for what JSON cannot hold (NaN, bytes of a Parquet file).
    """
    known = set(used)
    kept = ((key, value) for key, value in row.items() if key not in known and value is not None)
    return {text(key, "a column"): anything(value, key) for key, value in kept}

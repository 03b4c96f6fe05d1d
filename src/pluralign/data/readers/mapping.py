"""Any table, by a map of its columns: `--map prompt=question,response=answer,helpful[1:5]=stars` (see `column_map`).

Every row is one record. What the map leaves out goes to `extra`. Ranges that are not written in brackets are those of
the data, found in a first pass, as is the code of a column that says which of two replies is better.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from pluralign.data import rows
from pluralign.data.choice_codes import Codes, found, given, spelled
from pluralign.data.column_map import MISSING, Column, ColumnMap, objective_of_choice, parse, value_at
from pluralign.data.dataset import Dataset, OnError, Tally, convert
from pluralign.data.infer import infer
from pluralign.data.mapped_row import Plan, is_word, to_record
from pluralign.data.objective import Objective
from pluralign.errors import ConfigError, DataError

COLUMNS = "any, described by --map TARGET=COLUMN,... (prompt=question,response=answer,helpful[1:5]=stars)"
HUB = None
_LOOKED_AT = 100


def recognise(row: dict[str, Any]) -> int:
    """Nothing: a map says what the columns are."""
    return 0


def read(path: str | Path, on_error: OnError = "raise", columns: str | None = None) -> Dataset:
    """The file as a dataset by the map `columns`. Raises ConfigError for the map, DataError for a column that is not there."""
    if columns is None:
        raise ConfigError("the reader 'mapping' needs to know the columns: --map prompt=COLUMN,response=COLUMN,...")
    plan = Plan(parse(columns))
    _check_columns(path, plan.map)
    declared = {name: _declared(plan.map.of(name)[0]) for name in plan.map.ratings()}
    for column in (*plan.map.choices(), *plan.map.of("thumb")):
        own = [one.path for one in (*plan.map.of("response"), *plan.map.of("chosen"), *plan.map.of("rejected"))]
        plan.codes[column.target] = _codes(path, column, own)
    seen: dict[str, Objective] = {}
    if any(bounds is None for _, bounds in declared.values()):
        seen = {
            one.name: one
            for one in infer(convert(path, partial(to_record, plan=plan, objectives=None), on_error, Tally()))
        }
    objectives = tuple(_objective(name, *declared[name], seen) for name in declared)
    chosen_on = dict.fromkeys(objective_of_choice(column.target) for column in plan.map.choices())
    objectives += tuple(Objective(name) for name in chosen_on if name is not None and name not in declared)
    stream = partial(convert, path, partial(to_record, plan=plan, objectives=objectives), on_error)
    return Dataset(objectives, stream, reader="mapping")


def _check_columns(path: str | Path, plan: ColumnMap) -> None:
    """Raise DataError for a column that none of the first rows has: a typing error, most likely."""
    seen: dict[str, None] = {}
    missing = [column.path for column in plan.columns]
    for row in islice(_good_rows(path), _LOOKED_AT):
        seen |= dict.fromkeys(row)
        missing = [column for column in missing if not _has(value_at(row, column))]
    if missing:
        expected = "column" if len(missing) == 1 else "columns"
        raise DataError(f"--map: no {expected} {', '.join(missing)}; found the columns {', '.join(seen)}", path=path)


def _has(value: Any) -> bool:
    return any(map(_has, value)) if isinstance(value, list) and value else value is not MISSING


def _good_rows(path: str | Path) -> Iterator[dict[str, Any]]:
    for _, content in rows.stream(path):
        try:
            yield rows.decode(content)
        except DataError:
            continue  # rejected, with its reason, when the records are read


def _codes(path: str | Path, column: Column, own: list[str]) -> Codes:
    if column.options:
        return given(column.target, column.options)
    words: set[str] = set()
    for row in _good_rows(path):
        value = value_at(row, column.path)
        words |= {spelled(item) for item in (value if isinstance(value, list) else [value]) if is_word(item)}
        if len(words) > 100:
            break
    try:
        return found(column.target, words, own if column.target != "thumb" else ())
    except DataError as error:
        raise DataError(f"column {column.path}: {error.reason}", path=path) from error


def _declared(column: Column) -> tuple[str, tuple[float, float] | None]:
    """(direction, range) from the brackets `[low:high:direction]`, both optional."""
    options = list(column.options)
    direction = options.pop() if options and options[-1] in ("higher", "lower") else "higher"
    try:
        bounds = tuple(float(option) for option in options)
    except ValueError:
        bounds = (0.0,)
    if len(bounds) not in (0, 2):
        shown = f"{column.target}[{':'.join(column.options)}]"
        raise ConfigError(f"--map: {shown} must be {column.target}[LOW:HIGH], [LOW:HIGH:lower] or [lower]")
    return direction, (bounds[0], bounds[1]) if bounds else None


def _objective(
    name: str, direction: str, bounds: tuple[float, float] | None, seen: Mapping[str, Objective]
) -> Objective:
    low, high = bounds or ((seen[name].low, seen[name].high) if name in seen else (0.0, 1.0))
    try:
        return Objective(name, "", low, high, "lower" if direction == "lower" else "higher")
    except DataError as error:
        raise ConfigError(f"--map: {error.reason}") from error

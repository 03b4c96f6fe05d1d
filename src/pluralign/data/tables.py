"""Rows of Parquet and Arrow files, streamed in batches: Arrow's values as JSON's, a value that has none rejects its row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from pluralign.errors import DataError

Row = tuple[int, dict[str, Any] | DataError]
_BATCH = 1024


def parquet(path: Path) -> Iterator[Row]:
    """The rows of a Parquet file with their numbers (from 1). Raises DataError for damage of the file."""
    import pyarrow
    from pyarrow import parquet as files

    def batches() -> Iterator[Any]:
        with files.ParquetFile(path) as file:
            yield from file.iter_batches(_BATCH)

    return _rows(path, batches, pyarrow.ArrowException)


def arrow(path: Path) -> Iterator[Row]:
    """The rows of an Arrow file, in either of its two forms."""
    import pyarrow
    from pyarrow import ipc

    def batches() -> Iterator[Any]:
        with pyarrow.OSFile(str(path)) as file:  # not mapped: damage of a mapped file can end the process
            try:
                table = ipc.open_file(file)
            except pyarrow.ArrowInvalid:  # datasets writes the streaming form
                file.seek(0)
                yield from ipc.open_stream(file)
            else:
                yield from (table.get_batch(place) for place in range(table.num_record_batches))

    return _rows(path, batches, pyarrow.ArrowException)


def _rows(path: Path, batches: Callable[[], Iterator[Any]], problem: type[Exception]) -> Iterator[Row]:
    place = 0
    try:
        for batch in batches():
            _check_names(batch.schema.names, path)
            batch.validate()  # sizes only; Arrow trusts them, and reads beyond its memory where they are wrong
            for row in _values(batch):
                place += 1
                yield place, row
    except DataError:
        raise
    except (problem, OSError, ValueError, TypeError, NotImplementedError, OverflowError, MemoryError) as error:
        raise DataError(f"cannot be read as a table: {error}"[:400], path=path) from error
    if not place:
        raise DataError("is empty; expected at least one row", path=path)


def _check_names(names: list[str], path: Path) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"names a column twice: {', '.join(twice)}; rename one of them", path=path)


def _values(batch: Any) -> Iterator[dict[str, Any] | DataError]:
    """The rows of a batch; where one has a value that Python cannot hold, row by row."""
    try:
        batch.validate(full=True)
        whole = batch.to_pylist()
    except Exception:  # Arrow raises errors of many kinds for single values (bad text, times out of range)
        whole = None
    for place in range(batch.num_rows):
        try:
            yield plain(_one(batch.slice(place, 1)) if whole is None else whole[place])
        except Exception as error:
            yield DataError(f"a value cannot be read: {error}"[:400])


def _one(row: Any) -> Any:
    """The only row of a batch, once it is known to lie inside its memory."""
    row.validate(full=True)
    return row.to_pylist()[0]


def plain(value: Any) -> Any:
    """Arrow's Python values as JSON's: times and durations as text, decimals as numbers, maps as objects.

    Bytes stay, to be refused by whoever reads them.
    """
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        pairs = value and all(isinstance(item, tuple) and len(item) == 2 for item in value)  # how Arrow gives a map
        return {key: plain(item) for key, item in value} if pairs else [plain(item) for item in value]
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, timedelta):
        return str(value)
    return value.isoformat() if isinstance(value, datetime | date | time) else value

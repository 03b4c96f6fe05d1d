"""Rows of any table that people bring, streamed: JSON lines, CSV, Parquet, Arrow, plain text, a folder, a hub dataset.

A row is (place, content): the place is the line of a text file, the number of the row (from 1) elsewhere. JSON lines
stay bytes until `decode`, so that one bad line can be rejected without losing the rest.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, cast

from pluralign.data import lines
from pluralign.errors import DataError

Content = bytes | dict[str, Any] | DataError
Row = tuple[int, Content]
_HUB = re.compile(r"(?P<name>[\w.\-]+/[\w.\-]+)(:(?P<config>[\w.\-]+))?(@(?P<split>[\w.\-\[\]:%]+))?")
_BATCH = 1024


def stream(source: str | Path) -> Iterator[Row]:
    """The rows of a file, of the data files of a folder (in the order of their names), or of a dataset of the hub.

    A hub dataset is named `owner/name`, `owner/name:config`, `owner/name@split` or both; the split is "train" by default,
    and a folder of the dataset does for a configuration.
    Raises DataError for what cannot be read, and for a source without a row.
    """
    path = Path(source)
    hub = _HUB.fullmatch(str(source))
    if path.is_dir():
        return _folder(path)
    if hub and hub_name(source):
        return _hub(hub["name"], hub["config"], hub["split"] or "train")
    return (_format(path) or lines.raw)(path)


def hub_name(source: str | Path) -> str | None:
    """The `owner/name` of the hub dataset that a source names; None where it names a file or a folder."""
    path, hub = Path(source), _HUB.fullmatch(str(source))
    here = path.exists() or path.parent.exists() or _format(path) is not None
    return hub["name"] if hub and not here else None


def decode(content: Content) -> dict[str, Any]:
    """The row as a JSON-like object (DataError)."""
    if isinstance(content, DataError):
        raise content
    return lines.parse(content) if isinstance(content, bytes) else content


def _format(path: Path) -> Callable[[Path], Iterator[Row]] | None:
    name = path.name.lower().removesuffix(".gz")
    return next((reader for ending, reader in _FORMATS.items() if name.endswith(ending)), None)


def _folder(folder: Path) -> Iterator[Row]:
    """The tables of a folder, or of its `data` folder, as people save or download datasets; JSON beside them is about them."""
    endings = [ending for ending in _FORMATS if ending not in (".json", ".txt")]
    files = [path for path in [*folder.iterdir(), *(folder / "data").glob("*")] if path.is_file() and _format(path)]
    tables = sorted(path for path in files if path.name.lower().removesuffix(".gz").endswith(tuple(endings)))
    if not tables:
        raise DataError(f"is a folder without data files; expected files ending in {', '.join(endings)}", path=folder)
    for path in tables:
        yield from stream(path)


def _text(path: Path) -> io.TextIOWrapper:
    if path.suffix == ".gz":
        return cast(io.TextIOWrapper, gzip.open(path, "rt", encoding="utf-8-sig", newline=""))
    return path.open(encoding="utf-8-sig", newline="")


def _guarded(path: Path, rows: Callable[[Path], Iterator[Row]]) -> Iterator[Row]:
    """The rows of a text file, its damage named."""
    place = 0
    try:
        for place, content in rows(path):
            yield place, content
    except UnicodeDecodeError as error:
        raise DataError(
            f"not UTF-8 text: {error.reason}; convert the file to UTF-8", path=path, line=place + 1
        ) from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        reason = f"the gzip stream is damaged or cut off ({error}); fetch the file again"
        raise DataError(reason, path=path, line=place + 1) from error
    except csv.Error as error:
        raise DataError(f"not a readable table: {error}", path=path, line=place + 1) from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=path) from error
    if not place:
        raise DataError("is empty; expected at least one row", path=path)


def _separated(separator: str) -> Callable[[Path], Iterator[Row]]:
    def rows(path: Path) -> Iterator[Row]:
        csv.field_size_limit(lines.LONGEST_LINE)
        with _text(path) as file:
            table = csv.reader(file, delimiter=separator, strict=True)
            header = next(table, [])
            for cells in table:
                if cells:
                    yield table.line_num, _cells(header, cells)

    return lambda path: _guarded(path, rows)


def _cells(header: list[str], cells: list[str]) -> Content:
    """An empty cell is null; everything else stays text, which readers of numbers accept."""
    if len(cells) != len(header):
        return DataError(f"expected {len(header)} cells, found {len(cells)}")
    if len(set(header)) != len(header):
        return DataError(f"the header names a column twice: {', '.join(header)}")
    return {name: cell or None for name, cell in zip(header, cells, strict=True)}


def _plain_text(path: Path) -> Iterator[Row]:
    def rows(path: Path) -> Iterator[Row]:
        with _text(path) as file:
            for place, line in enumerate(file, start=1):
                if line.strip():
                    yield place, {"prompt": line.rstrip("\r\n")}

    return _guarded(path, rows)


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet

    return _columns(path, lambda: parquet.ParquetFile(path).iter_batches(_BATCH), pyarrow.ArrowException)


def _arrow(path: Path) -> Iterator[Row]:
    import pyarrow
    from pyarrow import ipc

    def batches() -> Iterator[Any]:
        with pyarrow.memory_map(str(path)) as file:
            try:
                table = ipc.open_file(file)
                yield from (table.get_batch(place) for place in range(table.num_record_batches))
            except pyarrow.ArrowInvalid:  # datasets writes the streaming form
                file.seek(0)
                yield from ipc.open_stream(file)

    return _columns(path, batches, pyarrow.ArrowException)


def _columns(path: Path, batches: Callable[[], Iterator[Any]], problem: type[Exception]) -> Iterator[Row]:
    place = 0
    try:
        for batch in batches():
            for value in batch.to_pylist():
                place += 1
                yield place, _plain(value)
    except (problem, OSError) as error:
        raise DataError(f"cannot be read as a table: {error}", path=path) from error
    if not place:
        raise DataError("is empty; expected at least one row", path=path)


def _plain(value: Any) -> Any:
    """Arrow's Python values as JSON's: times as text, bytes refused later by whoever reads them."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime | date | time) else value


def _hub(name: str, config: str | None, split: str) -> Iterator[Row]:
    try:
        for place, row in enumerate(_load(name, config, split), start=1):
            yield place, _plain(row)
    except Exception as error:  # the hub library raises errors of many libraries
        reason = f"neither a file or folder here, nor readable from the hub ({type(error).__name__}: {error})"
        raise DataError(reason, path=f"{name}@{split}") from error


def _load(name: str, config: str | None, split: str) -> Iterable[Any]:
    """A configuration, or where there is none of that name, a folder of the dataset."""
    from datasets import load_dataset

    try:
        return cast(Iterable[Any], load_dataset(name, config, split=split, streaming=True))
    except ValueError as error:
        if config is None or "BuilderConfig" not in str(error):
            raise
        return cast(Iterable[Any], load_dataset(name, data_dir=config, split=split, streaming=True))


_FORMATS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": lines.raw,
    ".ndjson": lines.raw,
    ".json": lines.raw,
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".csv": _separated(","),
    ".tsv": _separated("\t"),
    ".txt": _plain_text,
}

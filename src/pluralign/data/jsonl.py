"""Our record file: JSON lines, plain or gzip. The first line is a header, then one record per line.

    {"pluralign": "records", "format_version": 2, "objectives": [...], "licence": "...", "source": "..."}

A file without the header is read too; its objectives are then inferred in a first pass.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pluralign.data import lines
from pluralign.data.dataset import Dataset, OnError, Tally, check_on_error, convert, first_row
from pluralign.data.infer import infer
from pluralign.data.objective import Objective, unique
from pluralign.data.record import Record
from pluralign.data.record_json import from_json, to_json
from pluralign.data.strict import optional, text, tuple_of
from pluralign.errors import DataError
from pluralign.storage import check_format_version

FORMAT_VERSION = 2
"""2: responses may carry votes; files of version 1 are read as they are."""
KIND = "records"
_KEYS = ("pluralign", "format_version", "objectives", "licence", "source")


@dataclass(frozen=True, slots=True)
class Header:
    """What a record file says about itself; `declared` is False when the objectives were inferred."""

    objectives: tuple[Objective, ...] = ()
    licence: str | None = None
    source: str | None = None
    format_version: int = FORMAT_VERSION
    declared: bool = True


def read_header(path: str | Path, on_error: OnError = "raise") -> Header:
    """The header of a record file; without one, a whole streamed pass infers the objectives.

    Raises DataError (file and line) for a damaged first line, FormatVersionError for a newer file.
    """
    check_on_error(on_error)
    declared = _declared(path)
    if declared is not None:
        return declared
    return Header(infer(_records(path, None, on_error, Tally())), declared=False)


def read(path: str | Path, on_error: OnError = "raise", tally: Tally | None = None) -> Iterator[Record]:
    """Stream the records of a file, checked against its header; `tally` is filled as they come.

    Raises DataError with file and line, at once for the header; "skip" counts and leaves out bad rows instead.
    """
    check_on_error(on_error)
    return _records(path, _declared(path), on_error, Tally() if tally is None else tally)


def open_dataset(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a Dataset: header read now, records streamed at each pass."""
    header = read_header(path, on_error)
    return Dataset(
        header.objectives,
        partial(_records, path, header if header.declared else None, on_error),
        header.licence,
        header.source,
        "jsonl",
    )


def write(
    path: str | Path,
    records: Iterable[Record],
    objectives: Sequence[Objective],
    licence: str | None = None,
    source: str | None = None,
) -> int:
    """Write a record file, streamed and whole or not at all; returns the number of records.

    Raises DataError naming the record (from 1) that could not be read again, StorageError when the disk refuses.
    """
    header = header_line(objectives, licence, source)
    return lines.write(path, itertools.chain([header], _rows(records, objectives))) - 1


def header_line(objectives: Sequence[Objective], licence: str | None = None, source: str | None = None) -> bytes:
    """The first line of a record file."""
    header: dict[str, Any] = {
        "pluralign": KIND,
        "format_version": FORMAT_VERSION,
        "objectives": [objective.to_json() for objective in unique(objectives)],
        "licence": licence,
        "source": source,
    }
    return lines.dump(header)


def checked(records: Iterable[Record], objectives: Sequence[Objective]) -> Iterator[dict[str, Any]]:
    """Records as JSON objects that can be read again. Raises DataError naming the record (from 1) that could not."""
    for num, record in enumerate(records, start=1):
        try:
            row = to_json(record)
            from_json(row, objectives)
        except DataError as error:
            raise DataError(f"record {num} cannot be written: {error.reason}") from error
        yield row


def _rows(records: Iterable[Record], objectives: Sequence[Objective]) -> Iterator[bytes]:
    for num, row in enumerate(checked(records, objectives), start=1):
        try:
            yield lines.dump(row)
        except DataError as error:
            raise DataError(f"record {num} cannot be written: {error.reason}") from error


def _records(path: str | Path, header: Header | None, on_error: OnError, tally: Tally) -> Iterator[Record]:
    objectives = None if header is None else header.objectives

    def to_record(row: dict[str, Any], line: int) -> Record:
        return from_json(row, objectives)

    return convert(path, to_record, on_error, tally, skip=0 if header is None else 1)


def _declared(path: str | Path) -> Header | None:
    row = first_row(path)
    if "pluralign" not in row:
        return None
    return header_of(row, path)


def header_of(row: dict[str, Any], path: str | Path) -> Header:
    """The header in a file's first row. Raises DataError, FormatVersionError for a newer file."""
    try:
        return _header(row, path)
    except DataError as error:
        raise DataError(error.reason, path=path, line=1) from error


def _header(row: dict[str, Any], path: str | Path) -> Header:
    if row["pluralign"] != KIND:
        raise DataError(f"this is a pluralign file of kind {row['pluralign']!r:.40}, not {KIND!r}")
    version = check_format_version(row.get("format_version"), FORMAT_VERSION, path)
    unknown = sorted(set(row) - set(_KEYS))
    if unknown:
        raise DataError(f"unknown header keys {', '.join(unknown)}; allowed are {', '.join(_KEYS)}")
    objectives = tuple_of(lambda value, where: Objective.from_json(value))(row.get("objectives"), "objectives")
    licence = optional(text)(row.get("licence"), "licence")
    return Header(unique(objectives), licence, optional(text)(row.get("source"), "source"), version)

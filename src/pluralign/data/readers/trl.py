"""TRL datasets as JSON lines, both ways: every type, as texts (standard) or as messages (conversational).

An `objective` column (ours) and a `margin` column become the comparison's objective and strength.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pluralign.data import lines
from pluralign.data.check import check
from pluralign.data.dataset import Dataset, OnError, Tally, convert, first_row
from pluralign.data.infer import infer
from pluralign.data.record import Record
from pluralign.data.trl_columns import COLUMNS as _BY_FORMAT
from pluralign.data.trl_columns import CORE, KNOWN, SETS, check_format, check_same, format_of
from pluralign.data.trl_read import to_record
from pluralign.data.trl_write import Writer
from pluralign.errors import DataError

COLUMNS = "; ".join(", ".join(columns) for columns in [*_BY_FORMAT.values(), ("messages",)])


def recognise(row: dict[str, Any]) -> int:
    """TRL's own columns, if they are exactly one format's and no foreign column would be buried in `extra`."""
    core = set(row) & CORE
    if frozenset(core) not in SETS or not set(row) <= KNOWN:
        return 0
    messages = row.get("messages")
    if "messages" in row and not (isinstance(messages, list) and messages and _is_reply(messages[-1])):
        return 0  # a prompt alone: our own record file
    return len(core)


def _is_reply(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == "assistant"


def read(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """The file as a dataset. The first row settles the format; other rows must have it (DataError).

    Objectives are those of an `objective` column, found in a first pass, else none: the judgements are overall.
    """
    row = first_row(path)
    try:
        name = format_of(row)
    except DataError as error:
        raise DataError(error.reason, path=path, line=1) from error
    stream = partial(_records, path, name, on_error)
    objectives = infer(stream(Tally())) if "objective" in row else ()
    return Dataset(objectives, stream, reader="trl")


def _records(path: str | Path, name: str, on_error: OnError, tally: Tally) -> Iterator[Record]:
    def convert_row(row: dict[str, Any], line: int) -> Record:
        check_same(row, name)
        record = to_record(row, name)
        check(record)
        return record

    return convert(path, convert_row, on_error, tally)


@dataclass(frozen=True, slots=True)
class Written:
    """How many rows were written, and a count by kind of what TRL has no column for."""

    num_rows: int
    left_out: Counter[str]


def write(path: str | Path, records: Iterable[Record], format: str, conversational: bool = True) -> Written:
    """Write records as a TRL dataset of the given format, streamed and whole or not at all.

    A record gives one row per comparison (preference), per reply, or per thumb. Raises ConfigError for an unknown
    format, DataError for a record that it cannot hold or when not one row came out, StorageError.
    """
    writer = Writer(check_format(format), conversational)
    num = lines.write(path, _lines(records, writer))
    return Written(num, writer.left_out)


def _lines(records: Iterable[Record], writer: Writer) -> Iterator[bytes]:
    num, given = 0, 0
    for given, record in enumerate(records, start=1):
        try:
            for row in writer.rows(record):
                num += 1
                yield lines.dump(row)
        except DataError as error:
            raise DataError(f"record {given} cannot be written as {writer.name}: {error.reason}") from error
    if not num:
        raise DataError(
            f"none of {given} records holds anything to write as {writer.name}; choose another format, or "
            "a view that makes pairs or labels of scores (`pluralign data views`), or annotate first"
        )

"""Our records as Parquet: the same fields as in JSON lines, in one documented Arrow schema.

    messages     list<struct<role, content>>
    responses    list<struct<text, scores: map<string, double>, ratings, comments, spans, votes, thumb, condition_json,
                 finished, model, extra_json>>
    comparisons, rankings    lists of structs;  id, language, source    texts;  extra_json    JSON text

A missing score has no entry in the map, an abstention is an entry without a value. The header of the JSON lines is in
the schema's metadata under the key "pluralign". What is free in shape (extra, a condition) is JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from pluralign.data import jsonl, lines
from pluralign.data.dataset import Dataset, OnError, Tally, check_on_error, convert
from pluralign.data.infer import infer
from pluralign.data.objective import Objective
from pluralign.data.record import Record
from pluralign.data.record_json import from_json
from pluralign.errors import DataError
from pluralign.storage import atomic_file

_META = b"pluralign"
_BATCH = 4096
_JSON = ("condition", "extra")
COLUMNS = ("messages", "responses", "comparisons", "rankings", "id", "language", "source", "extra_json")


def write(
    path: str | Path,
    records: Iterable[Record],
    objectives: Sequence[Objective],
    licence: str | None = None,
    source: str | None = None,
) -> int:
    """Write a Parquet file of records, streamed and whole or not at all; returns the number of records.

    Raises DataError naming the record (from 1) that could not be read again, StorageError when the disk refuses.
    """
    import pyarrow
    from pyarrow import parquet

    schema = _schema().with_metadata({_META: jsonl.header_line(objectives, licence, source).strip()})
    num, rows = 0, (_row(row) for row in jsonl.checked(records, objectives))
    with atomic_file(path) as temporary, parquet.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for batch in iter(lambda: list(islice(rows, _BATCH)), []):
            try:
                writer.write_table(pyarrow.Table.from_pylist(batch, schema))
            except (pyarrow.ArrowException, UnicodeEncodeError, OverflowError) as error:
                raise DataError(f"records {num + 1} to {num + len(batch)} cannot be written: {error}") from error
            num += len(batch)
    return num


def read_header(path: str | Path) -> jsonl.Header | None:
    """What a Parquet file of records (or the first of a folder) says of itself; None without a header."""
    import pyarrow
    from pyarrow import parquet

    folder = Path(path)
    first = next(iter(sorted(folder.glob("*.parquet"))), folder) if folder.is_dir() else folder
    if not first.is_file() or first.suffix != ".parquet":
        return None
    try:
        about = (parquet.read_schema(first).metadata or {}).get(_META)
        return None if about is None else jsonl.header_of(lines.parse(about), path)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"cannot be read as a table: {error}", path=path) from error


def open_dataset(path: str | Path, on_error: OnError = "raise") -> Dataset:
    """A Parquet file (or folder, or hub dataset) of records as a Dataset; without a header a first pass infers the
    objectives."""
    check_on_error(on_error)
    header = read_header(path)

    def stream(tally: Tally, objectives: Sequence[Objective] | None) -> Iterator[Record]:
        return convert(path, lambda row, line: from_json(_json(row), objectives), on_error, tally)

    if header is None:
        return Dataset(infer(stream(Tally(), None)), lambda tally: stream(tally, None), reader="parquet")
    known = header.objectives
    return Dataset(known, lambda tally: stream(tally, known), header.licence, header.source, "parquet")


def _row(row: Any) -> Any:
    """The JSON object of a record as a row: what is free in shape becomes text."""
    if isinstance(row, list):
        return [_row(item) for item in row]
    if not isinstance(row, dict):
        return row
    plain: dict[str, Any] = {}
    for key, value in row.items():
        if key in _JSON:
            plain[f"{key}_json"] = json.dumps(value, ensure_ascii=False)
        elif key in ("scores", "demographics"):
            plain[key] = list(value.items())
        else:
            plain[key] = _row(value)
    return plain


def _json(row: Any) -> Any:
    """The inverse: empty fields are left out, as in a line of JSON."""
    if isinstance(row, list):
        return [_json(item) for item in row]
    if not isinstance(row, Mapping):
        return row
    kept: dict[str, Any] = {}
    for key, value in row.items():
        if key in ("scores", "demographics"):
            kept[key] = dict(value or {})
        elif key.endswith("_json") and value is not None:
            kept[key.removesuffix("_json")] = _parsed(value, key)
        elif value is not None and not key.endswith("_json"):
            kept[key] = _json(value)
    return kept


def _parsed(value: Any, key: str) -> Any:
    if not isinstance(value, str):
        raise DataError(f"{key} must be JSON text, got {value!r:.60}")
    return lines.parse(value.encode("utf-8", "surrogatepass"))


def _schema() -> Any:
    import pyarrow as pa

    text, number, place, yes = pa.string(), pa.float64(), pa.int64(), pa.bool_()

    def struct(**fields: Any) -> Any:
        return pa.struct(list(fields.items()))

    scores = pa.map_(text, number)
    rater = struct(id=text, group=text, language=text, demographics=pa.map_(text, text))
    response = struct(
        text=text,
        scores=scores,
        ratings=pa.list_(struct(scores=scores, rater=rater)),
        comments=pa.list_(struct(text=text, objective=text, rater=rater)),
        spans=pa.list_(struct(start=place, end=place, label=text, score=number, rater=rater)),
        votes=pa.list_(struct(choice=text, count=place, rater=rater)),
        thumb=text,
        condition_json=text,
        finished=yes,
        model=text,
        extra_json=text,
    )
    comparison = struct(
        first=place, second=place, outcome=text, objective=text, strength=number, rater=rater, reason=text
    )
    columns = {
        "messages": pa.list_(struct(role=text, content=text)),
        "responses": pa.list_(response),
        "comparisons": pa.list_(comparison),
        "rankings": pa.list_(struct(tiers=pa.list_(pa.list_(place)), objective=text, rater=rater)),
        "id": text,
        "language": text,
        "source": text,
        "extra_json": text,
    }
    return pa.schema(list(chain(columns.items())))

"""Tables of other tools: packed and Arrow bytes spoiled anywhere, other encodings, decimals, times."""

from __future__ import annotations

import bz2
import contextlib
import lzma
import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pluralign.data import rows
from pluralign.errors import DataError

TEXT = "".join(f'{{"prompt": "سلام {num}", "stars": {num}}}\n' for num in range(300)).encode()


def _arrow(path: Path, streamed: bool) -> bytes:
    import pyarrow
    from pyarrow import ipc

    table = pyarrow.Table.from_pylist([{"prompt": f"سلام {num}", "stars": num, "more": [num]} for num in range(40)])
    with (ipc.new_stream if streamed else ipc.new_file)(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=10)
    return path.read_bytes()


KINDS: dict[str, Callable[[Path], bytes]] = {
    "t.jsonl.bz2": lambda path: bz2.compress(TEXT),
    "t.jsonl.xz": lambda path: lzma.compress(TEXT),
    "t.csv.xz": lambda path: lzma.compress(b"prompt,stars\n" + b"a,1\n" * 200),
    "file.arrow": lambda path: _arrow(path, False),
    "stream.arrow": lambda path: _arrow(path, True),
}


def _stream(path: Path) -> tuple[int, int]:
    """Good and bad rows; nothing but DataError may come."""
    good = bad = 0
    with contextlib.suppress(DataError):
        for _, content in rows.stream(path):
            try:
                rows.decode(content)
                good += 1
            except DataError:
                bad += 1
    return good, bad


@pytest.mark.parametrize("name", KINDS)
def test_spoiled_bytes_are_rows_or_a_data_error(tmp_path: Path, name: str) -> None:
    path, rng = tmp_path / name, random.Random(name)
    whole = KINDS[name](path)
    path.write_bytes(whole)
    num = _stream(path)[0]
    assert num >= 40 and _stream(path) == (num, 0)
    for trial in range(40):
        start, size = rng.randrange(len(whole)), rng.randrange(0, 9)
        new = rng.randbytes(rng.randrange(0, 9))
        path.write_bytes(whole[:start] if trial % 4 == 0 else whole[:start] + new + whole[start + size :])
        assert _stream(path)[0] <= num + 1  # what is put in may be a row, nothing is read twice


@pytest.mark.parametrize("name", ["t.jsonl.bz2", "t.jsonl.xz"])
def test_a_packed_file_cut_off_is_one_bad_row_at_its_end(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(KINDS[name](path)[:-20])
    content = [each for _, each in rows.stream(path)]
    assert isinstance(content[-1], DataError) and "damaged or cut off" in str(content[-1])
    assert not any(isinstance(each, DataError) for each in content[:-1])


def test_latin_1_rejects_the_rows_that_are_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("prompt,stars\nplain,1\ncafé,2\nnext,3\n".encode("latin-1"))
    (first, one), (second, two), (third, three) = rows.stream(path)
    assert (first, one) == (2, {"prompt": "plain", "stars": "1"})
    assert second == 3 and isinstance(two, DataError) and "convert the file to UTF-8" in str(two)
    assert (third, three) == (4, {"prompt": "next", "stars": "3"})


def test_a_latin_1_header_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("café,stars\na,1\n".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8") as caught:
        list(rows.stream(path))
    assert (caught.value.path, caught.value.line) == (path, 1)


def test_latin_1_json_and_plain_text(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_bytes('{"a": 1}\n{"a": "é"}\n{"a": 2}\n'.encode("latin-1"))
    assert _stream(tmp_path / "t.jsonl") == (2, 1)
    (tmp_path / "t.json").write_bytes('[{"a": 1},\n{"a": "é"},\n{"a": 2}]'.encode("latin-1"))
    assert _stream(tmp_path / "t.json") == (2, 1)
    (tmp_path / "t.txt").write_bytes("one\né\nthree\n".encode("latin-1"))
    assert _stream(tmp_path / "t.txt") == (2, 1)


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_decimals_times_and_maps_are_plain_values(tmp_path: Path, ending: str) -> None:
    import pyarrow
    from pyarrow import feather, parquet

    given: dict[str, tuple[Any, Any, Any]] = {
        "price": (Decimal("4.25"), pyarrow.decimal128(5, 2), 4.25),
        "when": (datetime(2024, 2, 29, 12, 30), pyarrow.timestamp("us"), "2024-02-29T12:30:00"),
        "there": (
            datetime(2024, 2, 29, 12, tzinfo=UTC),
            pyarrow.timestamp("ms", "UTC"),
            "2024-02-29T12:00:00+00:00",
        ),
        "day": (date(2024, 2, 29), pyarrow.date32(), "2024-02-29"),
        "took": (timedelta(minutes=90), pyarrow.duration("s"), "1:30:00"),
        "by": ([("kind", 1)], pyarrow.map_(pyarrow.string(), pyarrow.int64()), {"kind": 1}),
        "deep": (
            [{"at": Decimal("0.50")}],
            pyarrow.list_(pyarrow.struct({"at": pyarrow.decimal128(3, 2)})),
            [{"at": 0.5}],
        ),
    }
    schema = pyarrow.schema({name: kind for name, (_, kind, _) in given.items()})
    table = pyarrow.Table.from_pylist([{name: value for name, (value, _, _) in given.items()}, {}], schema)
    path = tmp_path / f"t.{ending}"
    if ending == "parquet":
        parquet.write_table(table, path)
    else:
        feather.write_feather(table, str(path), compression="uncompressed")
    (_, first), (_, second) = rows.stream(path)
    assert first == {name: plain for name, (_, _, plain) in given.items()}
    assert second == dict.fromkeys(given)


def test_a_time_beyond_python_rejects_its_row_only(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    when = pyarrow.array([0, 2**61, 1], pyarrow.int64()).cast(pyarrow.timestamp("us"))
    parquet.write_table(pyarrow.table({"when": when, "a": [1, 2, 3]}), tmp_path / "t.parquet")
    content = [each for _, each in rows.stream(tmp_path / "t.parquet")]
    assert [isinstance(each, DataError) for each in content] == [False, True, False]
    assert content[2] == {"when": "1970-01-01T00:00:00.000001", "a": 3}


def test_odd_headers(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a;b\n1;2\n")
    assert list(rows.stream(path)) == [(2, {"a": "1", "b": "2"})]  # a usual separator, where the comma is not there
    path.write_text("a,a\n1,2\n")
    with pytest.raises(DataError, match="names a column twice: a, a"):
        list(rows.stream(path))
    path.write_text('a,b\n"1,2\n')
    ((_, only),) = rows.stream(path)
    assert isinstance(only, DataError) and "not a readable row" in str(only)

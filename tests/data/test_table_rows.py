"""Tables of every kind give the same rows; what cannot be read says so, and where."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from pluralign.data import rows
from pluralign.errors import DataError

TABLE = [{"prompt": "سلام 😀", "stars": 4.0}, {"prompt": 'a "quoted",\nline', "stars": None}]


def _read(source: str | Path) -> list[tuple[int, Any]]:
    return [(place, rows.decode(content)) for place, content in rows.stream(source)]


def _arrow_table() -> Any:
    import pyarrow

    return pyarrow.Table.from_pylist(TABLE)


def _write(path: Path) -> None:
    from pyarrow import feather, parquet

    kind = path.name.split(".", 1)[1]
    if kind == "parquet":
        parquet.write_table(_arrow_table(), path)
    elif kind == "arrow":
        feather.write_feather(_arrow_table(), str(path), compression="uncompressed")
    else:
        text = "".join(json.dumps(row) + "\n" for row in TABLE).encode()
        path.write_bytes(gzip.compress(text) if kind.endswith("gz") else text)


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "parquet", "arrow"])
def test_every_table_gives_the_same_rows(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"t.{kind}"
    _write(path)
    assert _read(path) == [(1, TABLE[0]), (2, TABLE[1])]
    assert _read(tmp_path) == _read(path)  # a folder of one table


def test_a_dataset_saved_by_datasets_is_a_folder_of_tables(tmp_path: Path) -> None:
    from datasets import Dataset

    Dataset.from_list(TABLE).save_to_disk(str(tmp_path / "saved"))
    assert [row for _, row in _read(tmp_path / "saved")] == TABLE


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_cells_stay_text_and_empty_ones_are_null(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"t.csv{ending}"
    text = '\ufeffprompt,stars\n"a ""quoted"",\nline",4\nb,\nc,1,2\n'.encode()
    path.write_bytes(gzip.compress(text) if ending else text)
    (first, one), (second, two), (third, three) = rows.stream(path)
    assert (first, one) == (3, {"prompt": 'a "quoted",\nline', "stars": "4"})
    assert (second, two) == (4, {"prompt": "b", "stars": None})
    assert third == 5 and isinstance(three, DataError) and "expected 2 cells, found 3" in str(three)


def test_tabs_and_plain_lines(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("a\tb\n1\t2\n")
    assert _read(tmp_path / "t.tsv") == [(2, {"a": "1", "b": "2"})]
    (tmp_path / "t.txt").write_text("first\n\nthird\n")
    assert _read(tmp_path / "t.txt") == [(1, {"prompt": "first"}), (3, {"prompt": "third"})]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", b"a\n\xff\n", "not UTF-8"),
        ("t.csv.gz", gzip.compress(b"a\n" + b"1\n" * 99, mtime=0)[:-9], "damaged or cut off"),
        ("t.parquet", b"PAR1nonsense", "cannot be read as a table"),
        ("t.arrow", b"ARROW1nonsense", "cannot be read as a table"),
        ("none.parquet", None, "cannot be read"),
    ],
)
def test_damage_is_named(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says):
        _read(tmp_path / name)


def test_a_table_that_is_not_there_has_no_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: cannot be read"):
        _read(tmp_path / "none.csv")

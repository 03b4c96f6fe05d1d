"""Records as Parquet come back as they were, header and all; bad bytes never raise anything but DataError."""

from __future__ import annotations

import contextlib
import gzip
from pathlib import Path

import pytest
from data_strategies import OBJECTIVES, records, scored
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pluralign.data import jsonl, parquet, rows
from pluralign.data.readers.registry import read
from pluralign.data.record import Record
from pluralign.errors import DataError

FEW = settings(max_examples=15, deadline=None, phases=[Phase.explicit, Phase.generate])


@given(some=st.lists(records(), min_size=1, max_size=3))
@FEW
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, some: list[Record]) -> None:
    path = tmp_path_factory.mktemp("records") / "r.parquet"
    assert parquet.write(path, some, OBJECTIVES, "MIT", "here") == len(some)
    found = read(path)
    assert list(found) == some
    assert (found.objectives, found.licence, found.source, found.reader) == (OBJECTIVES, "MIT", "here", "parquet")


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "tsv", "txt", "parquet", "jsonl.gz", "arrow"])
@given(place=st.integers(0, 4000), size=st.integers(0, 40), new=st.binary(max_size=40))
@FEW
def test_bytes_of_any_kind_are_rows_or_a_data_error(
    tmp_path_factory: pytest.TempPathFactory, ending: str, place: int, size: int, new: bytes
) -> None:
    path = tmp_path_factory.mktemp("odd") / f"r.{ending}"
    if ending == "parquet":
        parquet.write(path, [scored((1, 2, 3), (0, 0, 1))], OBJECTIVES)
    else:
        jsonl.write(path.with_name("r.jsonl"), [scored((1, 2, 3), (0, 0, 1))], OBJECTIVES)
        plain = path.with_name("r.jsonl").read_bytes()
        path.write_bytes(gzip.compress(plain) if ending.endswith("gz") else plain)
    content = path.read_bytes()
    start = place % len(content)
    path.write_bytes(content[:start] + new + content[start + size :])
    with contextlib.suppress(DataError):
        for _, row in rows.stream(path):
            with contextlib.suppress(DataError):
                rows.decode(row)


def test_an_array_and_spread_objects_are_split(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[\n {"a": "}\\"]"},\n 7, {"a": [{}]}\n]\n')
    got = list(rows.stream(path))
    assert [rows.decode(row) for _, row in got if not isinstance(row, DataError)] == [{"a": '}"]'}, {"a": [{}]}]
    assert got[0][0] == 2
    assert sum(isinstance(row, DataError) for _, row in got) == 1
    path.write_text('{\n "a": 1\n}\n{\n "a": 2\n}\n')
    assert [rows.decode(row) for _, row in rows.stream(path)] == [{"a": 1}, {"a": 2}]
    path.write_text('[{"a": 1}, {"a"')
    assert [isinstance(row, DataError) for _, row in rows.stream(path)] == [False, True]

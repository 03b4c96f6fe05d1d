"""The bench of data on a tiny size: real processes, real files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from pluralign.bench import data_made
from pluralign.bench.data import bench_data, page
from pluralign.bench.data_row import main
from pluralign.data import jsonl
from pluralign.errors import ConfigError


def test_made_files_are_equal_for_equal_seeds_and_readable(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert data_made.write_records(tmp_path / f"{name}.jsonl.gz", 10, seed) == 3
    a, b, c = ((tmp_path / f"{name}.jsonl.gz").read_bytes() for name in "abc")
    assert a == b != c
    assert [len(record.responses) for record in jsonl.read(tmp_path / "a.jsonl.gz")] == [4, 4, 2]
    assert data_made.write_flat(tmp_path / "f.jsonl.gz", 10) == 10
    row = json.loads(gzip.decompress((tmp_path / "f.jsonl.gz").read_bytes()).splitlines()[0])
    assert set(row) == {"prompt", "response", *data_made.OBJECTIVES}


def test_a_row_counts_pairs(tmp_path: Path) -> None:
    data_made.write_records(tmp_path / "a.jsonl.gz", 8)
    found = main(str(tmp_path / "a.jsonl.gz"), str(tmp_path / "o.jsonl"))
    assert found["pairs"] == len((tmp_path / "o.jsonl").read_text().splitlines()) <= 12
    assert found["cpu"] > 0 and found["peak"] > 2**20


def test_the_page_of_one_size() -> None:
    found = bench_data((8,))
    assert [(row["replies"], row["to"]) for row in found["rows"]] == [(8, "jsonl.gz"), (8, "parquet")]
    assert found["rows"][0]["pairs"] == found["rows"][1]["pairs"]
    assert "| 8 | parquet |" in page(found, "pluralign bench data") and "needs three sizes" in page(found, "x")


@pytest.mark.parametrize("sizes", [(), (4,), (100, 10), (10, 10)])
def test_sizes_grow(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="growing numbers"):
        bench_data(sizes)

"""Forgetting and dividing whole files: in place and whole, by every key, and in = the sum of the parts."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from pluralign.data import attribution, jsonl
from pluralign.data.divide import parse_fractions
from pluralign.data.objective import Objective
from pluralign.data.record import Rater, Rating, Record, Response, user
from pluralign.data_api import forget, split
from pluralign.errors import ConfigError, DataError, StorageError

KIND = Objective("kind", low=0, high=4)
HALVES = "train=.5,test=.5"


def write(path: Path, num: int = 40) -> Path:
    """`num` records; rater r0 to r9 (of the groups g0 and g1) each rated every tenth, r0 all of them."""
    records = []
    for place in range(num):
        raters = [Rater("r0", "g0"), Rater(f"r{place % 10}", f"g{place % 2}")][: 1 + (place % 10 > 0)]
        ratings = tuple(Rating({"kind": float(place % 5)}, rater) for rater in raters)
        records.append(Record(user(f"Q{place}"), (Response("x", {"kind": float(place % 5)}, ratings),), id=str(place)))
    jsonl.write(path, records, (KIND,), "MIT", "made up")
    return path


@pytest.mark.parametrize("name", ["data.jsonl", "data.jsonl.gz"])
def test_a_file_is_changed_in_place(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    found = forget(path, "r0")
    assert (found.records, found.touched, found.recomputed) == (40, 40, 40)
    assert found.removed == Counter(ratings=40)
    assert b"r0" not in (gzip.decompress(path.read_bytes()) if name.endswith("gz") else path.read_bytes())
    header, records = jsonl.read_header(path), list(jsonl.read(path))
    assert (header.objectives, header.licence, header.source, len(records)) == ((KIND,), "MIT", "made up", 40)
    assert sum(reply.scores == {} for record in records for reply in record.responses) == 4  # rated by r0 alone
    assert forget(path, "r0").touched == 0


def test_with_out_the_file_stays(tmp_path: Path) -> None:
    path = write(tmp_path / "data.jsonl")
    before = path.read_bytes()
    forget(path, "r1", tmp_path / "rest.jsonl")
    assert path.read_bytes() == before
    assert b'"r1"' not in (tmp_path / "rest.jsonl").read_bytes()


def test_a_bad_row_or_another_format_changes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "data.jsonl")
    path.write_text(path.read_text() + "{}\n")
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"data\.jsonl:42"):
        forget(path, "r0")
    assert path.read_bytes() == before
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps({"prompt": "a", "chosen": "b", "rejected": "c"}) + "\n")
    with pytest.raises(ConfigError, match="--out"):
        forget(pairs, "r0")
    with pytest.raises(ConfigError, match="--annotator ID"):
        forget(path, "")
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def parts(folder: Path) -> dict[str, list[Record]]:
    return {file.name.split(".")[0]: list(jsonl.read(file)) for file in sorted(folder.iterdir())}


@pytest.mark.parametrize("by", ["prompt", "annotator", "group"])
def test_in_is_the_sum_of_the_parts(tmp_path: Path, by: str) -> None:
    path = write(tmp_path / "data.jsonl")
    counts = split(path, tmp_path / "out", HALVES, by, seed=3)
    found = parts(tmp_path / "out")
    assert set(found) == {"train", "test"}
    assert counts.records == {name: len(records) for name, records in found.items() if records}
    assert counts.given == Counter(ratings=76) == sum(counts.feedback.values(), Counter())
    where: dict[str, set[str]] = {}
    for name, records in found.items():
        for record in records:
            said = [rating.rater for rating in record.responses[0].ratings if rating.rater]
            keys = {"prompt": [record.id], "annotator": [r.id for r in said], "group": [r.group for r in said]}[by]
            for key in keys:
                where.setdefault(str(key), set()).add(name)
    assert all(len(names) == 1 for names in where.values())
    assert len(where) == {"prompt": 40, "annotator": 10, "group": 2}[by]
    assert jsonl.read_header(tmp_path / "out" / "train.jsonl").licence == "MIT"


def test_parts_do_not_depend_on_the_order_but_on_the_seed(tmp_path: Path) -> None:
    path = write(tmp_path / "data.jsonl")
    header, *rows = path.read_text().splitlines(keepends=True)
    (tmp_path / "turned.jsonl").write_text(header + "".join(reversed(rows)))
    for name, source, seed in (("a", path, 0), ("b", tmp_path / "turned.jsonl", 0), ("c", path, 5)):
        split(source, tmp_path / name, HALVES, "annotator", seed)
    a, b, c = (parts(tmp_path / name) for name in "abc")
    assert a["train"] == b["train"][::-1]
    assert a["train"] != c["train"]


def test_compressed_files_have_compressed_parts(tmp_path: Path) -> None:
    split(write(tmp_path / "data.jsonl.gz"), tmp_path / "out", HALVES)
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"train.jsonl.gz", "test.jsonl.gz"}
    assert sum(len(records) for records in parts(tmp_path / "out").values()) == 40


def test_what_cannot_be_divided_is_refused_and_leaves_no_folder(tmp_path: Path) -> None:
    path = write(tmp_path / "data.jsonl")
    with pytest.raises(DataError, match="a demographic called 'country'"):
        split(path, tmp_path / "out", HALVES, "country")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(StorageError, match="exists already"):
        split(path, tmp_path / "out", HALVES)


def test_bad_rows_are_counted_and_kept_aside(tmp_path: Path) -> None:
    path = write(tmp_path / "data.jsonl")
    path.write_text(path.read_text() + "{}\n")
    with pytest.raises(DataError, match=":42"):
        split(path, tmp_path / "out", HALVES)
    counts = split(path, tmp_path / "out", HALVES, on_error="skip")
    assert (counts.tally.read, counts.tally.kept, counts.tally.rejected) == (41, 40, 1)
    assert json.loads((tmp_path / "out.rejected.jsonl").read_text())["line"] == 42
    given = Counter(
        kind for records in parts(tmp_path / "out").values() for r in records for kind, _ in attribution.feedback(r)
    )
    assert given == Counter(ratings=76)


@pytest.mark.parametrize("text", ["train", "train=.5", "a=.5,a=.5", "../x=1", "unattributed=1", "a=x"])
def test_bad_fractions_say_how_to_write_them(text: str) -> None:
    with pytest.raises(ConfigError, match=r"train=\.9|sum to 1"):
        parse_fractions(text)

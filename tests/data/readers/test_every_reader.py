"""What holds for all readers: each format has one reader, and whatever stands in a row is a record or a DataError."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
from reader_rows import SAMPLES, Row, read, write

from pluralign.data.readers import registry
from pluralign.data.record_json import from_json, to_json
from pluralign.errors import DataError

EVERY = pytest.mark.parametrize(
    "place", range(len(SAMPLES)), ids=[f"{i}-{name}" for i, (name, _) in enumerate(SAMPLES)]
)
JUNK = [None, True, 0, -1, 1.5, 1e308, 10**30, "", "x", "a b", "N/A", [], {}, [[]], [None], {"role": "user"}, ["x", 1]]


@EVERY
def test_each_format_has_one_reader(tmp_path: Path, place: int) -> None:
    name, row = SAMPLES[place]
    known = {reader: registry.find(reader).recognise(row) for reader in registry.reader_names()}
    best = max(known.values())
    assert [reader for reader, num in known.items() if num == best] == [name]
    assert registry.recognise(write(tmp_path, row)) == name
    assert registry.recognise(write(tmp_path, row | {"a_new_column": 3})) == name


@EVERY
def test_records_can_be_written_and_read_again(tmp_path: Path, place: int) -> None:
    dataset, records = read(tmp_path, SAMPLES[place][1])
    for record in records:
        assert from_json(json.loads(json.dumps(to_json(record))), dataset.objectives) == record


@EVERY
def test_a_column_of_ones_own_is_kept(tmp_path: Path, place: int) -> None:
    name, row = SAMPLES[place]
    (record,) = registry.read(write(tmp_path, row | {"annotators_note": "a remark"}), name)
    extras = [record.extra, *(reply.extra for reply in record.responses)]
    assert "a remark" in json.dumps(extras)


@EVERY
def test_a_missing_column_names_those_found(tmp_path: Path, place: int) -> None:
    name, row = SAMPLES[place]
    with pytest.raises(DataError, match=r"expected the columns .*found"):
        list(registry.read(write(tmp_path, row, {"something": "else"}), name))


def _places(value: Any) -> list[tuple[Any, Any]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [place for key in keys for place in _places(value[key])]


def _spoiled(row: Row, rng: random.Random) -> Row:
    row = copy.deepcopy(row)
    for _ in range(rng.randint(1, 2)):
        holder, key = rng.choice(_places(row) or [(row, "more")])
        if rng.random() < 0.2:
            holder.pop(key, None) if isinstance(holder, dict) else holder.pop(key)
        else:
            holder[key] = copy.deepcopy(rng.choice(JUNK))
    return row


@EVERY
def test_spoiled_rows_are_records_or_errors(tmp_path: Path, place: int) -> None:
    name, row = SAMPLES[place]
    rng = random.Random(place)
    path = write(tmp_path, row, *(_spoiled(row, rng) for _ in range(120)), "[" * 3000 + "]" * 3000, '"no object"')
    dataset = registry.read(path, name, on_error="skip")
    tally = dataset.count()
    assert tally.read == 123 == tally.kept + tally.rejected and tally.kept and tally.rejected
    for record in dataset:
        assert from_json(json.loads(json.dumps(to_json(record))), dataset.objectives) == record

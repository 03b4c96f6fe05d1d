"""Reading a file through: repeated ids are counted or refused, rejected rows can be kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluralign import data_api
from pluralign.data.inspect import store
from pluralign.data.inspect.ids import Ids, RepeatedIds
from pluralign.errors import ConfigError, DataError


def _file(path: Path, ids: list[str]) -> Path:
    row = {"messages": [{"role": "user", "content": "q"}], "responses": [{"text": "a", "scores": {"kind": 1}}]}
    path.write_text("".join(json.dumps(row | ({"id": id} if id else {})) + "\n" for id in ids))
    return path


@given(st.lists(st.sampled_from(["", "a", "b", "c", "d"]), max_size=12))
@settings(max_examples=15)
def test_repeats_are_those_of_a_set(ids: list[str]) -> None:
    with store.Store() as kept:
        found = Ids(kept)
        for line, id in enumerate(ids, start=1):
            found.add(id, line)
        got = found.result()
    again = [line for line, id in enumerate(ids, start=1) if id and id in ids[: line - 1]]
    assert got.again == len(again)
    assert got.line == (again[0] if again else None)
    assert got.first == (ids.index(ids[again[0] - 1]) + 1 if again else None)


def test_many_ids_are_written_in_parts() -> None:
    with store.Store() as kept:  # it writes 20 000 rows at a time
        found = Ids(kept)
        for line in range(1, 45_001):
            found.add(str(line % 44_000), line)
        assert found.result() == RepeatedIds(1000, 44_001, 1)


def test_repeated_ids_are_counted_or_refused(tmp_path: Path) -> None:
    path = _file(tmp_path / "r.jsonl", ["x", "", "y", "", "x", "y", "x"])
    assert data_api.validate(path)["repeated_ids"] == 3
    with pytest.raises(DataError, match=r"occurred before, on line 1 \(3 records") as caught:
        data_api.validate(path, unique_ids=True)
    assert (caught.value.path, caught.value.line) == (path, 5)
    fine = _file(tmp_path / "fine.jsonl", ["x", "", "y", ""])
    assert data_api.validate(fine, unique_ids=True)["repeated_ids"] == 0


def test_lines_count_rejected_rows(tmp_path: Path) -> None:
    path = _file(tmp_path / "r.jsonl", ["x", "y", "x"])
    first, rest = path.read_text().split("\n", 1)
    path.write_text(f"{first}\nno json\n\n{rest}")
    with pytest.raises(DataError, match="on line 1;") as caught:
        data_api.validate(path, unique_ids=True)
    assert caught.value.line == 5


def test_rejected_rows_are_written_only_when_asked(tmp_path: Path) -> None:
    path, side = _file(tmp_path / "r.jsonl", ["x", "y"]), tmp_path / "side.jsonl"
    path.write_text(path.read_text() + '{"messages": 3}\nno json\n')
    assert data_api.validate(path)["rejects"] is None and sorted(tmp_path.iterdir()) == [path]
    told = data_api.validate(path, rejected=side)
    assert told["rejects"] == str(side) and (told["read"], told["kept"], told["rejected"]) == (4, 2, 2)
    rows = [json.loads(line) for line in side.read_text().splitlines()]
    assert [row["line"] for row in rows] == [3, 4] and rows[1]["row"].strip() == "no json"
    assert all(row["reason"] and row["file"] == str(path) for row in rows)
    data_api.validate(_file(path, ["x"]), rejected=side)
    assert not side.exists()  # nothing was rejected this time
    with pytest.raises(ConfigError, match="on_error 'skip'"):
        data_api.validate(path, on_error="raise", rejected=side)

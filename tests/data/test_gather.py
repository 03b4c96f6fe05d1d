"""Rows gathered into records: every row in exactly one group, wherever it stands; rows are what is counted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from pluralign.data import gather
from pluralign.data.dataset import Tally
from pluralign.data.record import Record, Response, user
from pluralign.errors import DataError


def _key(row: Any) -> str:
    if not isinstance(row.get("key"), str):
        raise DataError("no key")
    return str(row["key"])


def _parse(row: dict[str, Any], line: int) -> dict[str, Any]:
    if row.get("bad"):
        raise DataError("a bad row")
    return row


def _join(rows: list[dict[str, Any]]) -> gather.Joined:
    if any(row.get("spoils") for row in rows):
        raise DataError("a bad group")
    kept = [row for row in rows if not row.get("odd")]
    refused = {place: "odd one out" for place, row in enumerate(rows) if row.get("odd")}
    record = Record(user(rows[0]["key"]), tuple(Response(str(row["num"])) for row in kept))
    return gather.Joined([record] if kept else [], refused)


GROUPING = gather.Grouping(_key, _parse, _join)


def lay(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def gathered(path: Path, tally: Tally) -> list[tuple[str, list[str]]]:
    apart = gather.scattered(path, _key)
    found = []
    for record in gather.gather(path, GROUPING, apart, "skip", tally):
        assert tally.read == tally.kept + tally.rejected
        found.append((record.messages[0].content, [reply.text for reply in record.responses]))
    return found


ROWS = st.lists(
    st.fixed_dictionaries({"key": st.sampled_from("abcdé\u202e"), "bad": st.booleans()}), min_size=1, max_size=25
)


@given(rows=ROWS)
def test_every_row_is_in_one_group(rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> None:
    rows = [row | {"num": place} for place, row in enumerate(rows)]
    tally = Tally()
    found = gathered(lay(tmp_path_factory.mktemp("gather") / "r.jsonl", rows), tally)
    by_key: dict[str, list[str]] = {}
    for row in rows:
        if not row["bad"]:
            by_key.setdefault(row["key"], []).append(str(row["num"]))
    assert len(found) == len(by_key) and dict(found) == by_key
    assert (tally.read, tally.kept) == (len(rows), sum(map(len, by_key.values())))


def test_groups_that_stand_together_are_streamed(tmp_path: Path) -> None:
    path = lay(tmp_path / "r.jsonl", [{"key": key, "num": 1} for key in "aabbbc"])
    assert gather.scattered(path, _key) == frozenset()
    tally = Tally()
    stream = gather.gather(path, GROUPING, frozenset(), "raise", tally)
    assert [(next(stream).messages[0].content, tally.read) for _ in range(3)] == [("a", 2), ("b", 5), ("c", 6)]


def test_scattered_groups_come_last_in_the_order_of_their_first_rows(tmp_path: Path) -> None:
    rows = [{"key": key, "num": num} for num, key in enumerate("baxabcxc")]
    expected = [("b", ["0", "4"]), ("a", ["1", "3"]), ("x", ["2", "6"]), ("c", ["5", "7"])]
    assert gathered(lay(tmp_path / "r.jsonl", rows), Tally()) == expected
    assert gathered(lay(tmp_path / "r.jsonl", [*rows, {"key": "d", "num": 8}]), Tally()) == [("d", ["8"]), *expected]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "r.parquet")
    assert gathered(tmp_path / "r.parquet", Tally()) == expected


@pytest.mark.parametrize("keys", ["aab", "aba"])
def test_rows_and_groups_are_refused_with_their_lines(tmp_path: Path, keys: str) -> None:
    rows = [{"key": key, "num": num} for num, key in enumerate(keys)]
    place = keys.rindex("a")
    for change, kept, reason in [({"odd": True}, 2, "odd one out"), ({"spoils": True}, 1, "a bad group")]:
        changed = [row | (change if num == place else {}) for num, row in enumerate(rows)]
        path, tally = lay(tmp_path / "r.jsonl", changed), Tally()
        gathered(path, tally)
        assert (tally.kept, tally.rejected) == (kept, 3 - kept) and reason in tally.examples[0]
        apart = gather.scattered(path, _key)
        with pytest.raises(DataError, match=rf"r.jsonl:\d: {reason}"):
            list(gather.gather(path, GROUPING, apart, "raise", Tally()))
        assert any(f":{place + 1}: {reason}" in example for example in tally.examples)


def test_rows_of_a_table_that_are_no_json_cannot_wait(tmp_path: Path) -> None:
    """A NaN of a Parquet file is refused when its row must wait on the disk, and names its row."""
    rows = [{"key": "a", "num": 1.0}, {"key": "b", "num": 2.0}, {"key": "a", "num": float("nan")}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "r.parquet")
    tally = Tally()
    assert gathered(tmp_path / "r.parquet", tally) == [("b", ["2.0"]), ("a", ["1.0"])]
    assert (tally.kept, tally.rejected) == (2, 1) and "r.parquet:3: cannot be written as JSON" in tally.examples[0]


def test_a_row_that_makes_several_records_makes_all_or_none(tmp_path: Path) -> None:
    path = lay(tmp_path / "r.jsonl", [{"num": 2}, {"num": -1}, {"num": 3}])

    def several(row: dict[str, Any], line: int) -> list[Record]:
        if row["num"] < 0:
            raise DataError("fewer than none")
        return [Record(user(f"{line}.{place}")) for place in range(row["num"])]

    tally = Tally()
    found = [record.messages[0].content for record in gather.expand(path, several, "skip", tally)]
    assert found == ["1.0", "1.1", "3.0", "3.1", "3.2"] and (tally.read, tally.kept, tally.rejected) == (3, 2, 1)
    with pytest.raises(DataError, match=":2: fewer than none"):
        list(gather.expand(path, several, "raise", Tally()))

"""`data convert`, every kind: rows by hand, and in = kept + rejected with a side file where rows are bad."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from pluralign import data_api
from pluralign.data import views
from pluralign.data.readers.registry import read
from pluralign.errors import ConfigError, DataError

HEADER = {
    "pluralign": "records",
    "format_version": 2,
    "objectives": [{"name": "kind", "low": 0, "high": 4}, {"name": "brief", "low": 0, "high": 4}],
    "licence": None,
    "source": "by hand",
}
GOOD = {
    "messages": [{"role": "user", "content": "How? 😀"}],
    "responses": [
        {"text": "one", "scores": {"kind": 4, "brief": 1}, "thumb": "up"},
        {"text": "two", "scores": {"kind": 2, "brief": 3}, "thumb": "down"},
    ],
    "comparisons": [{"first": 0, "second": 1, "outcome": "first", "objective": "kind"}],
    "rankings": [{"tiers": [[0], [1]]}],
    "id": "q1",
}
BAD = ['{"messages": []}', "no json", '{"messages": [{"role": "user", "content": "x"}], "more": 1}']
TABULAR = ["pluralign", "trade-off", *views.names()]
TRL = ["trl-preference", "trl-prompt-completion", "trl-unpaired-preference", "trl-prompt-only"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A header, a good row, three bad ones, and the good one again."""
    path = tmp_path / "in.jsonl"
    rows = [json.dumps(HEADER), json.dumps(GOOD), *BAD, json.dumps(GOOD | {"id": "q2"})]
    path.write_text("\n".join(rows) + "\n")
    return path


def _rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        from pyarrow import parquet

        table: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
        return table
    content = path.read_bytes()
    return [json.loads(line) for line in (gzip.decompress(content) if path.suffix == ".gz" else content).splitlines()]


@pytest.mark.parametrize(
    ("to", "ending"),
    [(to, ending) for to in TABULAR for ending in ("jsonl", "jsonl.gz", "parquet")] + [(to, "jsonl") for to in TRL],
)
def test_every_kind_keeps_or_rejects_every_row(source: Path, to: str, ending: str) -> None:
    out = source.with_name(f"out.{ending}")
    done = data_api.convert(source, out, to, on_error="skip")
    assert (done["read"], done["kept"], done["rejected"]) == (5, 2, 3)
    assert "5 rows: 2 kept, 3 rejected" in done["told"] and done["rejects"] == str(
        source.with_name("out.rejected.jsonl")
    )
    side = _rows(Path(done["rejects"]))
    assert [row["line"] for row in side] == [3, 4, 5] and [row["row"].strip() for row in side] == BAD
    found = _rows(out)
    assert len(found) - (to == "pluralign" and ending != "parquet") == done["rows"] >= 2
    assert "How? 😀" in json.dumps(found, ensure_ascii=False)


@pytest.mark.parametrize("to", [*TABULAR, *TRL])
def test_a_bad_row_stops_and_leaves_nothing(source: Path, to: str) -> None:
    with pytest.raises(DataError) as caught:
        data_api.convert(source, source.with_name("out.jsonl"), to)
    assert (caught.value.path, caught.value.line) == (source, 3)
    assert list(source.parent.iterdir()) == [source]


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "parquet"])
def test_records_come_back(source: Path, ending: str) -> None:
    out = source.with_name(f"out.{ending}")
    data_api.convert(source, out, on_error="skip")
    assert list(read(out)) == list(read(source, on_error="skip"))
    assert read(out).objectives == read(source).objectives and read(out).source == "by hand"


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_trade_off_rows_by_hand(source: Path, ending: str) -> None:
    out = source.with_name(f"out.{ending}")
    data_api.convert(source, out, "trade-off", on_error="skip", conversational=False, options={"num_weights": 3})
    for row in _rows(out):
        kind, brief = row["weights"]["kind"], row["weights"]["brief"]
        assert kind + brief == pytest.approx(1) and row["prompt"] == "How? 😀"
        assert row["margin"] == pytest.approx(abs(2 * kind - 2 * brief))  # one is kinder by 2, two briefer by 2
        assert (row["chosen"], row["rejected"]) == (("one", "two") if kind > brief else ("two", "one"))


def test_one_pair_by_comparison(source: Path) -> None:
    out = source.with_name("out.jsonl")
    data_api.convert(source, out, "trl-preference", on_error="skip", conversational=False)
    first = _rows(out)[0]
    assert (first["prompt"], first["chosen"], first["rejected"]) == ("How? 😀", "one", "two")


def test_join_makes_one_record_of_a_prompt(source: Path) -> None:
    out = source.with_name("out.jsonl")
    done = data_api.convert(source, out, join=True, on_error="skip")
    assert (done["read"], done["kept"], done["rejected"], done["rows"]) == (5, 2, 3, 1)
    (record,) = read(out)
    assert [response.text for response in record.responses] == ["one", "two"]
    assert record.responses[0].scores == {"kind": 4.0, "brief": 1.0}


@pytest.mark.parametrize(
    ("to", "ending", "options", "says"),
    [
        ("nothing", "jsonl", {}, "cannot convert to 'nothing'"),
        ("pluralign", "csv", {}, "which CSV and text cannot hold"),
        ("trl-preference", "parquet", {}, "are written as .jsonl"),
        ("trade-off", "jsonl", {"weights": 1}, "trade-off has no option weights"),
        ("power-set", "jsonl", {"weights": 1}, "weights"),
    ],
)
def test_what_cannot_be_asked_for(source: Path, to: str, ending: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        data_api.convert(source, source.with_name(f"out.{ending}"), to, on_error="skip", options=options)
    assert list(source.parent.iterdir()) == [source]

"""`pluralign data inspect` as a person calls it, on files made here."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

import made_up
from pluralign.cli import main


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert main([str(argument) for argument in ("data", "inspect", *arguments)]) == 0
    return capsys.readouterr().out


def test_a_record_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = made_up.write(tmp_path / "r.jsonl.gz", made_up.scored(20))
    text = said(capsys, path, "--plots", tmp_path / "plots")
    assert "20 = 20 kept + 0 rejected" in text
    assert "60, 3.00 per record" in text
    assert "pictures: " in text
    assert {file.name for file in (tmp_path / "plots").iterdir()} == {
        *("scores.png", "correlation.png", "conflict.png", "length.png")
    }
    value: Any = json.loads(said(capsys, path, "--json"))
    assert (value["reader"], value["counts"]["replies"], value["limit"]) == ("jsonl", 60, None)
    assert value["rows"]["read"] == value["rows"]["kept"] + value["rows"]["rejected"]
    assert json.loads(said(capsys, path, "--json", "--limit", 5))["counts"]["records"] == 5


def test_bad_rows_are_counted_or_stop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = made_up.row("a", "bb", kind=[1.0, 2.0])
    path = made_up.lines(tmp_path / "r.jsonl", row, '{"messages": 3}', row)
    text = said(capsys, path)
    assert "3 = 2 kept + 1 rejected" in text
    assert "r.jsonl:2" in text
    assert "1 of 3 rows cannot be used" in text
    assert main(["data", "inspect", str(path), "--on-error", "raise"]) == 2
    assert "r.jsonl:2" in capsys.readouterr().err


def test_a_table_of_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "pairs.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [["prompt", "chosen", "rejected"], *([f"p{i}", "long reply", "no"] for i in range(30))]
        )
    text = said(capsys, path)
    assert "reader        trl" in text
    assert "(overall): first 30" in text
    assert "(overall) (100 % of 30 pairs)" in text
    assert "licence       not declared" in text


@pytest.mark.parametrize(
    ("content", "words"),
    [("", "is empty"), ('{"a": 1}\n', "no reader knows the format"), ('{"messages": 3}\n', "holds no usable record")],
)
def test_what_cannot_be_inspected(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, words: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(content)
    assert main(["data", "inspect", str(path)]) == 2
    assert words in capsys.readouterr().err


def test_a_limit_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = made_up.write(tmp_path / "r.jsonl", made_up.scored(3))
    assert main(["data", "inspect", str(path), "--limit", "0"]) == 2
    assert "limit is a number of records from 1, got 0" in capsys.readouterr().err

"""A table that nobody planned for: `--map` in validate, convert and inspect, `--join`, and a training from it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

import made_up
from conftest import Command
from pluralign.data.readers import registry

MAP = "prompt=question,response=answer,rater=who,kind[0:4]=friendly,brief[0:8]=short"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two raters of every reply, one row each, as a CSV file."""
    path = tmp_path / "survey.csv"
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["question", "answer", "who", "friendly", "short", "when"])
        for record in made_up.scored(8, replies=2):
            for reply in record.responses:
                kind, brief = (reply.scores[name] for name in ("kind", "brief"))
                out.writerow([f"joke {record.id}", reply.text, "ann", kind, brief, "monday"])
                out.writerow([f"joke {record.id}", reply.text, "bob", "N/A", brief, "friday"])
    return path


def test_a_map_from_end_to_end(pluralign: Command, table: Path, place: Path, tmp_path: Path) -> None:
    unknown = pluralign("data", "validate", table)
    assert unknown.code == 2 and "found the columns question, answer, who" in unknown.err and "--map" in unknown.err
    facts = pluralign("data", "validate", table, "--map", MAP, "--json").json
    assert (facts["reader"], facts["read"], facts["kept"]) == ("mapping", 32, 32)
    assert facts["objectives"] == "kind [0, 4], brief [0, 8]"
    assert pluralign("data", "inspect", table, "--map", MAP).code == 0
    wrong = pluralign("data", "validate", table, "--map", "prompt=question,response=reply")
    assert wrong.code == 2 and "no column reply; found the columns question" in wrong.err

    ours = tmp_path / "ours.jsonl"
    assert pluralign("data", "convert", table, ours, "--map", MAP, "--join").code == 0
    records = list(registry.read(ours))
    assert len(records) == 8 and all(len(record.responses) == 2 for record in records)
    raters = [[one.rater.id for one in reply.ratings if one.rater] for reply in records[0].responses]
    assert raters == [["ann", "bob"], ["ann", "bob"]]
    assert records[0].responses[0].ratings[1].scores["kind"] is None
    assert records[0].extra == {
        "when": "monday",
        "joined": {"id": ["line-2", "line-3", "line-4", "line-5"], "when": ["monday", "friday"]},
    }

    base = ("--model", place / "model", "--quiet", *made_up.SMALL)
    assert pluralign("train", "cmpo", "--data", ours, "--out", tmp_path / "joined", *base).code == 0
    asked = ("train", "sft", "--data", table, "--map", MAP, "--out", tmp_path / "run", *base)
    assert pluralign(*asked).code == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["config"]["options"]["map"] == MAP
    assert pluralign("train", "--from", tmp_path / "run", "--out", tmp_path / "again", "--quiet").code == 0

"""`pluralign data` about people, as they call it: a table of raters, one person alone, keys through a pipe."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import made_up
from conftest import Command
from pluralign.data import jsonl
from pluralign.data.evidence import evidence
from pluralign.data.record import Rater, Rating, Record, Response, user


@pytest.fixture
def raters(tmp_path: Path) -> Path:
    """Sixty texts without a prompt, each rated by ann and bob, one row each."""
    rows = [
        Record(user(""), (Response(f"text {num}", ratings=(Rating({"kind": float(num % 5)}, Rater(who, job)),)),))
        for num in range(60)
        for who, job in (("ann", "cooks"), ("bob", "nurses"))
    ]
    return made_up.write(tmp_path / "raters.jsonl", rows)


def test_a_table_of_raters_is_divided_by_its_texts(pluralign: Command, raters: Path, tmp_path: Path) -> None:
    facts = pluralign("data", "split", raters, "--out", tmp_path / "parts", "--fractions", "a=.5,b=.5", "--json").json
    assert sum(facts["records"].values()) == 120 and min(facts["records"].values()) > 30
    texts = [{r.responses[0].text for r in jsonl.read(tmp_path / "parts" / f"{name}.jsonl")} for name in "ab"]
    assert not texts[0] & texts[1]


def test_a_part_that_got_nobody_is_named(pluralign: Command, raters: Path, tmp_path: Path) -> None:
    arguments = ("data", "split", raters, "--fractions", "a=.98,b=.01,c=.01", "--by", "annotator")
    told = pluralign(*arguments, "--out", tmp_path / "parts").out
    assert "b: EMPTY; the annotators are too few for this share; try another --seed" in told
    facts = pluralign(*arguments, "--out", tmp_path / "again", "--json").json
    assert facts["records"] == {"a": 120, "b": 0, "c": 0}


def test_one_person_alone(pluralign: Command, raters: Path, tmp_path: Path) -> None:
    done = pluralign("data", "convert", raters, tmp_path / "ann.jsonl", "--annotator", "ann")
    assert done.code == 0 and "60 rows written; in: 120 rows" in done.out
    found = [rating.rater for r in jsonl.read(tmp_path / "ann.jsonl") for rating in r.responses[0].ratings]
    assert found == [Rater("ann", "cooks")] * 60
    unknown = pluralign("data", "convert", raters, tmp_path / "eve.jsonl", "--annotator", "eve")
    assert unknown.code == 2 and "no feedback names the annotator 'eve'" in unknown.err
    assert not (tmp_path / "eve.jsonl").exists()
    both = pluralign("data", "convert", raters, tmp_path / "joined.jsonl", "--group", "nurses", "--join")
    assert both.code == 0 and "60 rows written" in both.out


def test_annotating_beside_scores_warns_and_the_named_command_makes_the_answers_count(tmp_path: Path) -> None:
    """The keys contradict the file: its scores say the second reply is kinder, the person says the first."""
    record = Record(user("?"), (Response("x", {"kind": 0.0, "brief": 1.0}), Response("y", {"kind": 4.0, "brief": 1.0})))
    made_up.write(tmp_path / "scored.jsonl", [record])

    def run(*arguments: str, keys: str = "") -> str:
        command = [sys.executable, "-m", "pluralign", *arguments]
        done = subprocess.run(command, cwd=tmp_path, input=keys, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    what = ("--out", "mine.jsonl", "--mode", "rate", "--objectives", "kind")
    told = run("data", "annotate", "scored.jsonl", *what, keys="40")
    assert (
        "WARNING: the file has scores of its own, and training takes those instead of your answers about kind (2)"
        in told
    )
    named = told.split("To train on yours alone: pluralign ")[1].split()
    assert named == ["data", "convert", "mine.jsonl", "OUT", "--annotator", "me"]
    run(*("own.jsonl" if word == "OUT" else word for word in named))

    def better(file: str) -> float:
        (found,) = jsonl.read(tmp_path / file)
        return float(evidence(found, made_up.OBJECTIVES).verdict[0, 1, 0])

    assert (better("mine.jsonl"), better("own.jsonl")) == (-1.0, 1.0)

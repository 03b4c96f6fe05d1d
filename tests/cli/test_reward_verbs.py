"""`train reward` and `score`: a scorer is trained, found in its run, and used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import made_up
from pluralign.data import jsonl

if TYPE_CHECKING:
    from tests.cli.conftest import Command


@pytest.mark.parametrize("kind", ["regression", "classes", "bt"])
def test_train_a_reward_model_and_score_with_it(kind: str, place: Path, pluralign: Command, tmp_path: Path) -> None:
    data = place / ("said.jsonl" if kind == "bt" else "data.jsonl")
    run = tmp_path / "run"
    small = ["--kind", kind, *made_up.SMALL]
    done = pluralign("train", "reward", "--data", data, "--model", place / "model", "--out", run, *small, "--json")
    assert done.code == 0, done.err
    assert done.json == {"reward": str(run / "reward")}
    for scorer in (run, run / "reward"):
        out = tmp_path / "scored.jsonl"
        assert pluralign("score", data, "--out", out, "--scorer", scorer).code == 0
        records = list(jsonl.read(out))
        assert {tuple(sorted(reply.scores)) for r in records for reply in r.responses} == {("brief", "kind")}
    header = jsonl.read_header(out)
    assert [(o.name, o.low, o.high) for o in header.objectives] == [
        ("kind", *((-5, 5) if kind == "bt" else (0, 4))),
        ("brief", *((-5, 5) if kind == "bt" else (0, 8))),
    ]


def test_a_finished_run_is_only_loaded(place: Path, pluralign: Command, tmp_path: Path) -> None:
    given = ["--data", place / "data.jsonl", "--model", place / "model", "--out", tmp_path / "run", *made_up.SMALL]
    assert pluralign("train", "reward", *given).code == 0
    head = (tmp_path / "run" / "reward" / "head.safetensors").read_bytes()
    assert pluralign("train", "reward", *given, "--resume").code == 0
    assert (tmp_path / "run" / "reward" / "head.safetensors").read_bytes() == head


def test_what_a_run_cannot_be_used_for(run_folder: Path, place: Path, pluralign: Command, tmp_path: Path) -> None:
    refused = pluralign("score", place / "data.jsonl", "--out", tmp_path / "o.jsonl", "--scorer", run_folder)
    assert refused.code == 2
    assert "has no reward model" in refused.err
    data = ["--data", place / "data.jsonl", "--model", place / "model", "--out", tmp_path / "run"]
    assert pluralign("train", "reward", *data, *made_up.SMALL, "--loss.centring", "0.01").code == 2
    assert pluralign("train", "reward", *data, *made_up.SMALL).code == 0
    refused = pluralign("sample", tmp_path / "run", "--prompt", "a joke")
    assert refused.code == 2
    assert "trained a reward model" in refused.err

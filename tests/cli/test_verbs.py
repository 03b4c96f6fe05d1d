"""Every verb of the command line: what it prints, what it writes, and JSON on standard output only."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from safetensors.numpy import load_file
from transformers import AutoModelForCausalLM

import made_up
from pluralign import __version__, api

if TYPE_CHECKING:
    from tests.cli.conftest import Command

LAST = Path("policy") / "steering.safetensors"
ASK = ("--prompt", "tell me a joke", "--max-new-tokens", 5)


def test_help_and_version(pluralign: Command) -> None:
    found = pluralign("--help")
    assert found.code == 0
    for verb in ("demo", "train", "sample", "evaluate", "score", "export", "data", "methods", "results"):
        assert f"  {verb} " in found.out
    assert pluralign().out == found.out
    assert pluralign("--version").out.strip() == __version__


@pytest.mark.parametrize(
    "verb", ["demo", "train cmpo", "sample", "evaluate", "score", "export", "results", "data validate"]
)
def test_every_verb_explains_its_options(pluralign: Command, verb: str) -> None:
    found = pluralign(*verb.split(), "--help")
    assert found.code == 0
    assert "usage: pluralign" in found.out
    assert "--" in found.out


def test_methods_are_listed(pluralign: Command) -> None:
    found = pluralign("methods", "--json")
    assert list(found.json) == api.method_names()
    for name, row in found.json.items():
        facts = dataclasses.asdict(api.method_class(name).facts)
        assert row == {"about": api.about_method(name), **facts}, "what is read from the file is what the class says"
    table = pluralign("methods").out
    assert "passes per token" in table and "arXiv 2406.18853" in table
    assert pluralign("train", "--help").out.count("\n  ") >= 3
    assert "Recipes: default" in pluralign("train", "cmpo", "--help").out.replace("│", "")


def test_data_is_validated_converted_and_its_readers_listed(pluralign: Command, place: Path, tmp_path: Path) -> None:
    found = pluralign("data", "validate", place / "data.jsonl")
    assert (found.code, found.err) == (0, "")
    assert "16 kept, 0 rejected" in found.out
    assert "kind [0, 4], brief [0, 8]" in found.out
    assert {"hh_pairs", "jsonl", "critiques"} <= set(pluralign("data", "readers", "--json").json)
    rows = pluralign(
        "data", "convert", place / "said.jsonl", tmp_path / "trl.jsonl", "--to", "trl-preference", "--json"
    ).json
    assert rows["rows"] == len((tmp_path / "trl.jsonl").read_text().splitlines())
    assert pluralign("data", "convert", tmp_path / "trl.jsonl", tmp_path / "back.jsonl").code == 0
    assert "actions" not in pluralign("data").out
    assert pluralign("data", "validate", tmp_path / "back.jsonl").code == 0


def test_a_bad_row_is_counted_with_file_and_line(pluralign: Command, tmp_path: Path) -> None:
    path = made_up.lines(tmp_path / "data.jsonl", made_up.row("a", "b", kind=[0, 1]), '{"messages": []}')
    found = pluralign("data", "validate", path)
    assert found.code == 0
    assert "2 rows: 1 kept, 1 rejected" in found.out
    assert f"{path}:2: " in found.out
    assert pluralign("data", "validate", path, "--on-error", "raise").code == 2


def test_training_prints_where_the_policy_is(pluralign: Command, place: Path, tmp_path: Path) -> None:
    base = ("--data", place / "said.jsonl", "--model", place / "model", *made_up.SMALL)
    found = pluralign("train", "cmpo", *base, "--out", tmp_path / "one", "--json")
    assert found.code == 0
    assert found.json == {"policy": str(tmp_path / "one" / "policy")}
    assert "learnt from comparisons" in found.err
    quiet = pluralign("train", "cmpo", *base, "--out", tmp_path / "two", "--quiet", "--conversion", "power_set")
    assert (quiet.code, quiet.err) == (0, "")
    assert "trained: " in quiet.out


@pytest.mark.parametrize("recipe", ["thesis", "thesis_scaled"])
def test_a_recipe_is_a_starting_point_for_flags(pluralign: Command, place: Path, tmp_path: Path, recipe: str) -> None:
    data = ("--data", place / "data.jsonl", "--model", place / "model", "--out", tmp_path / "run")
    assert (
        pluralign("train", "cmpo", "--recipe", recipe, *data, *made_up.SMALL, "loss:cdpo", "--loss.beta", 0.25).code
        == 0
    )
    kept = json.loads((tmp_path / "run" / "run.json").read_text())["config"]["settings"]
    assert kept["loss"] == {"is": "CDPO", "beta": 0.25, "label_smoothing": 0.1}
    assert kept["steering"]["rank"] == "full"
    assert kept["optim"]["steps"] == 4


def test_a_run_is_repeated_to_the_same_bits(pluralign: Command, run_folder: Path, tmp_path: Path) -> None:
    assert pluralign("train", "--from", run_folder, "--out", tmp_path / "again").code == 0
    assert (tmp_path / "again" / LAST).read_bytes() == (run_folder / LAST).read_bytes()
    assert pluralign("train", "cmpo", f"--from={run_folder}", "--out", tmp_path / "other", "--seed", 1).code == 0
    assert (tmp_path / "other" / LAST).read_bytes() != (run_folder / LAST).read_bytes()
    kept = [json.loads((folder / "run.json").read_text()) for folder in (run_folder, tmp_path / "again")]
    assert kept[0]["config"] == kept[1]["config"]


def test_a_finished_run_is_resumed_at_once(pluralign: Command, run_folder: Path) -> None:
    before = (run_folder / LAST).read_bytes()
    options = json.loads((run_folder / "run.json").read_text())["config"]["options"]
    base = ("--data", options["data"], "--model", options["model"], "--out", run_folder, *made_up.SMALL)
    found = pluralign("train", "cmpo", *base, "--resume")
    assert found.code == 0
    assert "finished already" in found.err
    assert (run_folder / LAST).read_bytes() == before


def test_replies_are_sampled(pluralign: Command, run_folder: Path) -> None:
    asked = ("sample", run_folder, *ASK, "--steer", "kind=.5,brief=.5", "--num", 2, "--json")
    found = pluralign(*asked)
    assert found.code == 0
    assert found.err == ""
    assert found.json["condition"] == {"weights": {"kind": 0.5, "brief": 0.5}}
    assert [len(reply["texts"]) for reply in found.json["replies"]] == [2]
    assert pluralign(*asked).json == found.json
    assert pluralign("sample", run_folder, "--prompt", "a joke").code == 0  # as long as the context allows
    beyond = ("sample", run_folder, *ASK, "--steer", "kind=1.5,brief=-.5")
    assert pluralign(*beyond).code == 2
    assert pluralign(*beyond, "--allow-extrapolation").code == 0


def test_a_policy_is_evaluated_on_data(pluralign: Command, run_folder: Path, place: Path, tmp_path: Path) -> None:
    found = pluralign("evaluate", run_folder, "--data", place / "said.jsonl", "--out", tmp_path / "report", "--json")
    assert found.code == 0
    assert {row["objective"] for row in found.json["preferences"]} == {"kind", "brief"}
    assert all("length_only" in row for row in found.json["preferences"])
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == found.json
    assert (tmp_path / "report" / "report.html").read_text().startswith("<!")
    text = pluralign("evaluate", run_folder, "--data", place / "said.jsonl", "--out", tmp_path / "report", "--limit", 5)
    assert "length only" in text.out


def test_a_policy_is_exported(pluralign: Command, run_folder: Path, tmp_path: Path) -> None:
    whole = ("export", run_folder, "--steer", "kind=1", "--out", tmp_path / "merged")
    assert pluralign(*whole).code == 0
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "merged").config.tie_word_embeddings is False
    assert "kind=1" in (tmp_path / "merged" / "README.md").read_text()
    assert pluralign(*whole).code == 2
    adapter = ("export", run_folder, "--steer", "kind=1", "--out", tmp_path / "lora", "--format", "lora", "--json")
    found = pluralign(*adapter).json
    assert found["out"] == str(tmp_path / "lora") and 0 <= found["differences"]["adapter"] <= 1e-4
    assert load_file(tmp_path / "lora" / "adapter_model.safetensors")


def test_presets_are_exported(pluralign: Command, run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "named.json").write_text('{"warm": "kind=1", "even": "kind=.5,brief=.5 @1.5"}')
    asked = ("export", run_folder, "--presets", tmp_path / "named.json", "--out", tmp_path / "out")
    found = pluralign(*asked, "--format", "adapters", "--json").json
    assert set(found["differences"]) >= {"base", "kind", "brief", "warm", "even", "sum of the objectives"}
    assert max(found["differences"].values()) <= 1e-4
    page = (tmp_path / "out" / "README.md").read_text()
    assert "even=./presets/even" in page and "brief=./objectives/brief" in page


def test_records_are_scored(pluralign: Command, tmp_path: Path) -> None:
    row = {"messages": [{"role": "user", "content": "How do I fix it? My kettle will not boil."}]}
    row["responses"] = [{"text": "Go clean the base, buddy."}, {"text": "Nothing."}]  # type: ignore[assignment]
    path = made_up.lines(tmp_path / "data.jsonl", row)
    found = pluralign("score", path, "--out", tmp_path / "scored.jsonl.gz", "--json")
    assert found.json["records"] == 1
    assert "helpful" in pluralign("data", "validate", tmp_path / "scored.jsonl.gz").out

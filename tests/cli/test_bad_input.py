"""Bad input: one message with what was given and what to do, exit code 2, no traceback, nothing left half-written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from transformers import T5Config

import made_up
from pluralign.cli import main

if TYPE_CHECKING:
    from tests.cli.conftest import Command

ROW = made_up.row("good", "nice joke", kind=[1, 2])
FILES: dict[str, tuple[tuple[Any, ...], str]] = {
    "cut": ((ROW, '{"messages": [{"role"'), ":2: not valid JSON"),
    "no object": ((ROW, "[1, 2]"), ":2: expected a JSON object, got list"),
    "wrong type": ((ROW, {**ROW, "responses": "good"}), ":2: "),
    "score is text": ((ROW, made_up.row("a", "b", kind=["high", 1])), ":2: "),
    "nan": ((ROW, json.dumps(made_up.row("a", "b", kind=[float("nan"), 1]))), ":2: NaN is not JSON"),
    "infinite": ((ROW, json.dumps(made_up.row("a", "b", kind=[float("inf"), 1]))), ":2: Infinity is not JSON"),
    "huge": ((ROW, json.dumps(made_up.row("a", "b", kind=[1, 1])).replace("[1", "[1e999")), ""),
    "unknown key": ((ROW, {**ROW, "mood": 1}), ":2: "),
    "last turn": ((ROW, {**ROW, "messages": [{"role": "assistant", "content": "hi"}]}), ":2: the last turn"),
    "empty": ((), "is empty; expected one JSON object per line"),
    "only a header": (
        ({"pluralign": "records", "format_version": 1, "objectives": [{"name": "kind"}], "licence": None, "source": None},),
        "holds no records",
    ),
    "newer": (({"pluralign": "records", "format_version": 99, "objectives": []},), "newer than this pluralign reads"),
    "unknown objective": (
        ({"pluralign": "records", "format_version": 1, "objectives": [{"name": "kind", "high": 4}]}, made_up.row("a", "b", rude=[1, 2])),
        ":2: ",
    ),
    "out of range": (
        ({"pluralign": "records", "format_version": 1, "objectives": [{"name": "kind", "high": 4}]}, made_up.row("a", "b", kind=[1, 7])),
        "in the objective's range [0, 4]",
    ),
    "nothing to compare": ((made_up.row("a", kind=[1]),), "no two replies of a prompt"),
    "other columns": (({"question": "x", "answer": "y"},), "no reader knows the format; found the columns question, answer"),
}  # fmt: skip


def check_refused(outcome: Any, *expected: str) -> None:
    assert outcome.code == 2, outcome
    assert "Traceback" not in outcome.err
    assert outcome.out == ""
    for text in expected:
        assert text in outcome.err


@pytest.mark.parametrize("name", [name for name in FILES if name != "huge"])
def test_bad_data_stops_a_training_and_frees_its_name(
    pluralign: Command, place: Path, tmp_path: Path, name: str
) -> None:
    rows, said = FILES[name]
    data = made_up.lines(tmp_path / "data.jsonl", *rows)
    where = "" if name == "nothing to compare" else str(data)
    outcome = pluralign(
        "train", "cmpo", "--data", data, "--model", place / "model", "--out", tmp_path / "run", *made_up.SMALL
    )
    check_refused(outcome, "pluralign: ", said, where)
    assert not (tmp_path / "run").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.jsonl"]


OPTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "no file": ("train cmpo --data {tmp}/none.jsonl --model {place}/model --out {tmp}/run", ("none.jsonl: cannot be read",)),
    "a folder as data": ("train cmpo --data {place}/model --model {place}/model --out {tmp}/run", ("a folder without data files",)),
    "unknown objective": ("train cmpo {base} --objectives kind rude", ("unknown objective 'rude'", "kind, brief")),
    "unknown method": ("train nothing {base}", ("unknown method 'nothing'; known are: alt, ",)),
    "unknown recipe": ("train cmpo --recipe best {base}", ("no recipe 'best'; there are: default",)),
    "recipe without name": ("train cmpo {base} --recipe", ("--recipe takes a value",)),
    "unknown reader": ("train cmpo {base} --reader csv", ("unknown reader 'csv'; allowed are auto",)),
    "unknown tracker": ("train cmpo {base} --trackers paper", ("unknown tracker 'paper'", "jsonl")),
    "no model": ("train cmpo --data {place}/data.jsonl --model {tmp} --out {tmp}/run", ("no model folder", "config.json")),
    "no such model": ("train cmpo --data {place}/data.jsonl --model {tmp}/none --out {tmp}/run", ("there is no folder",)),
    "encoder-decoder": ("train cmpo --data {place}/data.jsonl --model {tmp}/t5 --out {tmp}/run", ("encoder-decoder", "Use a causal LM")),
    "limit": ("train cmpo {base} --limit 0", ("limit must be at least 1",)),
    "seed": ("train cmpo {base} --seed -3", ("seed",)),
    "max length": ("train cmpo {base} --max-length 4096", ("beyond the model's context of 64 tokens",)),
    "nothing fits": ("train cmpo {base} --max-length 2", ("no response fits; raise max_length",)),
    "template": ("train cmpo {base} --template fancy", ("unknown template 'fancy'",)),
    "lr": ("train cmpo {base} --optim.lr nan", ("lr",)),
    "tau": ("train cmpo {base} loss:regression --loss.tau 0", ("tau must be a finite number above 0",)),
    "clip": ("train cmpo {base} --optim.clip-norm inf", ("clip_norm",)),
    "extrapolation": ("train cmpo {base} --allow-extrapolation", ("in sample, serve and export",)),
    "from nowhere": ("train --from {tmp}/none --out {tmp}/run", ("no run folder",)),
    "from a policy": ("train --from {place}/run/policy --out {tmp}/run", ("no run folder",)),
    "from without out": ("train --from {place}/run", ("--out NEW_RUN",)),
    "from another method": ("train dpo --from {place}/run --out {tmp}/run", ("was trained with cmpo",)),
    "existing run": ("train cmpo --data {place}/data.jsonl --model {place}/model --out {place}/run", ("exists already", "--resume")),
    "resume nothing": ("train cmpo {base} --resume", ("no run to resume",)),
    "resume other settings": ("train cmpo --data {place}/data.jsonl --model {place}/model --out {place}/run --seed 5 --resume", ("other settings", "seed: 0 then, 5 now")),
    "out is a file": ("train cmpo --data {place}/data.jsonl --model {place}/model --out {place}/data.jsonl", ("is a file",)),
    "unknown verb": ("teach", ("unknown verb 'teach'; known are: demo, train",)),
    "unknown action": ("data look", ("unknown action 'look'; known are: ",)),
    "methods": ("methods all", ("all",)),
    "unknown flag": ("sample {place}/run --prompt a --loud", ("--loud",)),
    "missing flag": ("evaluate {place}/run", ("--out",)),
    "weights do not parse": ("sample {place}/run --prompt a --steer kind=lots", ("cannot read 'kind=lots'", "write weights as")),
    "weights sum oddly": ("sample {place}/run --prompt a --steer kind=.5,brief=.2", ("must sum to 1", "did you mean")),
    "weight outside": ("sample {place}/run --prompt a --steer kind=2", ("outside its bound [0, 1]",)),
    "weight of nobody": ("sample {place}/run --prompt a --steer rude=1", ("unknown objective 'rude'; allowed are: kind, brief",)),
    "words": ("sample {place}/run --prompt a --steer friendly", ("steered by weights",)),
    "targets": ("sample {place}/run --prompt a --steer kind:4", ("steered by weights",)),
    "no number of replies": ("sample {place}/run --prompt a --num 0", ("at least 1, got 0",)),
    "negative seed": ("sample {place}/run --prompt a --seed -1", ("seed is",)),
    "temperature": ("sample {place}/run --prompt a --temperature -1", ("temperature",)),
    "top p": ("sample {place}/run --prompt a --top-p 1.5", ("top_p must be in (0, 1]",)),
    "too long": ("sample {place}/run --prompt a --max-new-tokens 400", ("do not fit", "lower max_new_tokens")),
    "no policy": ("sample {tmp} --prompt a", ("policy.json",)),
    "no such policy": ("sample {tmp}/none --prompt a", ("none",)),
    "a model is no policy": ("sample {place}/model --prompt a", ("policy.json",)),
    "not the lab's": ("evaluate {place}/run --out {tmp}/report", ("give the data to judge it on with --data",)),
    "no pairs": ("evaluate {place}/run --data {tmp}/single.jsonl --out {tmp}/report", ("nothing can be evaluated",)),
    "objectives of others": ("evaluate {place}/run --data {tmp}/rude.jsonl --out {tmp}/report", ("unknown objective 'rude'",)),
    "report on a file": ("evaluate {place}/run --data {place}/data.jsonl --out {place}/data.jsonl", ("cannot write",)),
    "convert to nothing": ("data convert {place}/data.jsonl {tmp}/out.jsonl --to csv", ("cannot convert to 'csv'",)),
    "convert to no trl": ("data convert {place}/data.jsonl {tmp}/out.jsonl --to trl-poem", ("poem",)),
    "convert to a full disk": ("data convert {place}/data.jsonl /dev/full", ("cannot write /dev/full", "No space left")),
    "convert to no folder": ("data convert {place}/data.jsonl {place}/data.jsonl/x.jsonl", ("cannot write",)),
    "unknown scorer": ("score {place}/data.jsonl --out {tmp}/out.jsonl --scorer love", ("unknown scorer 'love'",)),
    "scorer of no module": ("score {place}/data.jsonl --out {tmp}/out.jsonl --scorer no.such:Class", ("cannot import 'no.such'",)),
    "export over a folder": ("export {place}/run --steer kind=1 --out {place}/model", ("exists already",)),
    "export oddly": ("export {place}/run --steer kind=.4 --out {tmp}/out", ("must sum to 1",)),
    "report that is none": ("export {place}/run --steer kind=1 --out {tmp}/out --report {tmp}/none.json", ("cannot be read",)),
    "presets that are none": ("export {place}/run --format presets --presets {tmp}/none.json --out {tmp}/out", ("cannot be read",)),
    "presets without a file": ("export {place}/run --format presets --out {tmp}/out", ("--presets FILE.json",)),
    "presets that do nothing": ("export {place}/run --presets {tmp}/none.json --out {tmp}/out", ("does nothing in format merged", "adapters and presets")),
    "rank that does nothing": ("export {place}/run --rank legal --out {tmp}/out", ("does nothing in format merged",)),
    "adapters at one condition": ("export {place}/run --format adapters --steer kind=1 --out {tmp}/out", ("does nothing in format adapters", "merged and lora")),
    "demo on a file": ("demo --out {place}/data.jsonl", ("is a file",)),
    "demo on no run": ("demo --out {place}/model --overwrite", ("no run folder",)),
}  # fmt: skip


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("t5")
    T5Config(d_model=8, num_layers=1, vocab_size=9).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", OPTIONS)
def test_a_bad_option_is_refused(
    pluralign: Command, place: Path, run_folder: Path, t5: Path, tmp_path: Path, name: str
) -> None:
    shutil.copytree(t5, tmp_path / "t5")
    made_up.lines(tmp_path / "single.jsonl", made_up.row("a", kind=[1]))
    made_up.lines(tmp_path / "rude.jsonl", made_up.row("a", "b", rude=[1, 2]))
    before = {path.name for path in tmp_path.iterdir()}
    kept = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    base = f"--data {place}/data.jsonl --model {place}/model --out {tmp_path}/run " + " ".join(made_up.SMALL)
    line, expected = OPTIONS[name]
    outcome = pluralign(*line.format(tmp=tmp_path, place=place, base=base).split())
    check_refused(outcome, *expected)
    left = {path.name for path in tmp_path.iterdir()} - before
    assert not {file for name in left for file in (tmp_path / name).rglob("*") if file.name != ".lock"}, left
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == kept


def test_debug_shows_the_traceback(pluralign: Command) -> None:
    found = pluralign("teach", "--debug")
    assert found.code == 2
    assert "Traceback" in found.err


def damage_json(folder: Path) -> None:
    (folder / "policy.json").write_text('{"format_version": 1,')


def newer(folder: Path) -> None:
    about = json.loads((folder / "policy.json").read_text())
    (folder / "policy.json").write_text(json.dumps({**about, "format_version": 99}))


def cut_changes(folder: Path) -> None:
    path = folder / "steering.safetensors"
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize("damage", [damage_json, newer, cut_changes])
def test_a_damaged_policy_is_named(
    pluralign: Command, run_folder: Path, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    shutil.copytree(run_folder / "policy", tmp_path / "policy")
    damage(tmp_path / "policy")
    check_refused(pluralign("sample", tmp_path / "policy", "--prompt", "a"), str(tmp_path / "policy"))


def test_an_unfinished_run_says_how_to_go_on(pluralign: Command, run_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    shutil.copy(run_folder / "run.json", tmp_path / "run")
    check_refused(pluralign("sample", tmp_path / "run", "--prompt", "a"), "continue it with --resume")


def test_rows_that_are_skipped_are_counted(pluralign: Command, place: Path, tmp_path: Path) -> None:
    data = made_up.lines(tmp_path / "data.jsonl", made_up.row("good", "nice", kind=[0, 1]), "nonsense", "[]")
    base = ("--data", data, "--model", place / "model", *made_up.SMALL)
    held_out = made_up.lines(tmp_path / "held_out.jsonl", made_up.row("good", "nice", kind=[0, 1]), "[]")
    run = ("--validation", held_out, "--out", tmp_path / "run", "--on-error", "skip")
    found = pluralign("train", "cmpo", *base, *run)
    assert found.code == 0
    assert "3 rows: 1 kept, 2 rejected" in found.err and "2 rows: 1 kept, 1 rejected" in found.err
    sides = [(tmp_path / "run" / f"{name}.jsonl").read_text() for name in ("rejected", "rejected_validation")]
    assert [side.count("\n") for side in sides] == [2, 1] and str(held_out) in sides[1]
    bad = made_up.lines(tmp_path / "bad.jsonl", "nonsense", "[]")
    check_refused(pluralign("data", "validate", bad), str(bad))


def test_main_is_the_only_door() -> None:
    assert main(["--version"]) == 0

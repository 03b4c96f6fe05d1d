"""Data and models that nobody here made: validate, train, kill and resume, evaluate, save, sample, export.

These models are tiny: nothing is claimed about quality, only that it works.
"""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import made_up
import tiny  # noqa: F401  (one thread)
from pluralign import api
from pluralign.cli import main
from pluralign.data.condition import parse

pytestmark = pytest.mark.real_data
MODELS = {"stories260k": (128, 300), "stories_char105": (144, 100)}  # max_length, rows
SIZES = ("--optim.steps", 6, "--optim.batch-size", 6, "--weights-per-step", 2, "--checkpoint-every", 2)


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    """What a command says in JSON."""
    capsys.readouterr()
    assert run(*arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def stop_after(metrics: Path, lines: int) -> None:
    """Ask this process to stop, as Ctrl-C does, once so many steps are done."""

    def watch() -> None:
        for _ in range(6000):
            if metrics.exists() and metrics.read_text().count("\n") >= lines:
                signal.raise_signal(signal.SIGINT)
                return
            time.sleep(0.01)

    threading.Thread(target=watch, daemon=True).start()


@pytest.mark.parametrize("name", [pytest.param("stories260k", marks=pytest.mark.slow), "stories_char105"])
def test_two_objectives_that_conflict(
    real_data: Path, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs, model, (length, rows) = real_data / "hh_pairs" / "pairs.jsonl.gz", real_data / name, MODELS[name]
    facts = said(capsys, "data", "validate", pairs)
    assert (facts["kept"], facts["rejected"], facts["reader"]) == (3455, 0, "hh_pairs")
    files = ("--data", pairs, "--limit", rows, "--model", model, "--max-length", length, "--template", "dialogue")
    asked = ("train", "cmpo", *files, *SIZES)
    out = tmp_path / "run"
    stop_after(out / "metrics.jsonl", 3)
    assert run(*asked, "--out", out) == 130
    noted = capsys.readouterr().err
    assert "--resume" in noted
    check_counts(noted, 2 * rows)
    assert run(*asked, "--out", out, "--resume") == 0
    if name == "stories_char105":
        assert run("train", "--from", out, "--out", tmp_path / "again", "--quiet") == 0
        last = Path("policy") / "steering.safetensors"
        assert (out / last).read_bytes() == (tmp_path / "again" / last).read_bytes()
    check_evaluation(said(capsys, "evaluate", out, "--data", pairs, "--limit", 60, "--out", tmp_path / "report"))
    check_leaving(out, tmp_path, capsys)


def check_counts(noted: str, total: int) -> None:
    """Replies that do not fit are counted, and are not all."""
    found = re.search(r"(\d+) of (\d+) responses do not fit", noted)
    assert found, noted
    assert 0 < int(found[1]) < int(found[2])
    assert int(found[2]) == total


def check_evaluation(report: Any) -> None:
    rows = {row["objective"]: row for row in report["preferences"]}
    assert set(rows) == {"helpful", "harmless"}
    for row in rows.values():
        assert row["num_pairs"] > 3
        assert 0 <= row["implicit_reward"] <= 1
        assert row["length_only"] == max(row["longer"], row["shorter"])
    assert len(report["about"]["data"]["licence"]) > 3


def check_leaving(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Sampled, saved and loaded, merged: plain transformers gives the same log-probabilities."""
    steer = "helpful=.6,harmless=.4"
    asked = ("sample", out, "--prompt", "Once upon a time", "--steer", steer, "--max-new-tokens", 8)
    replies = said(capsys, *asked)
    assert replies["replies"][0]["texts"][0]
    assert said(capsys, *asked) == replies
    assert run("export", out, "--steer", steer, "--out", tmp_path / "merged") == 0
    policy, plain = api.load_policy(out), AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    assert len(AutoTokenizer.from_pretrained(tmp_path / "merged")) == len(policy.encoder.tokenizer)
    ids = torch.arange(3, 40)[None]
    with policy.steering.steered(policy.model, policy.coefficients([parse(steer)])), torch.no_grad():
        torch.testing.assert_close(plain(ids).logits, policy.model(ids).logits, atol=1e-4, rtol=1e-4)


def test_ratings_of_single_replies(real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Critiques have one rated reply per prompt: nothing to compare, but replies to imitate."""
    data, model = real_data / "critiques" / "critiques.jsonl.gz", real_data / "stories260k"
    facts = said(capsys, "data", "validate", data)
    assert (facts["kept"], facts["objectives"]) == (993, "justified [1, 5], relevant [1, 5]")
    base = ("--data", data, "--model", model, "--max-length", 200)
    assert run("train", "cmpo", *base, "--out", tmp_path / "none") == 2
    assert "no two replies of a prompt" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    sizes = ("--optim.steps", 8, "--optim.batch-size", 4, "--limit", 100)
    asked = ("train", "sft", *base, "--out", tmp_path / "run", *sizes)
    stop_after(tmp_path / "run" / "metrics.jsonl", 3)
    assert run(*asked, "--epochs", "None") == 130
    check_counts(capsys.readouterr().err, 100)
    assert run(*asked, "--epochs", "None", "--resume", "--quiet") == 0
    losses = [json.loads(line)["loss"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(losses) == 8
    assert run("export", tmp_path / "run", "--out", tmp_path / "merged") == 0
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "merged")


def test_ratings_of_several_replies(real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two rated critiques side by side are a pair: CMPO learns from scores of real people."""
    data = api.load_data(real_data / "critiques" / "critiques.jsonl.gz")
    short = [record for record in data.records if len(record.responses[0].text) < 200]
    joined = [
        made_up.joined("Which answer is better reasoned?", one, two)
        for one, two in zip(short[::2], short[1::2], strict=False)
    ]
    path = made_up.write(tmp_path / "pairs.jsonl", joined, data.objectives)
    base = ("--data", path, "--model", real_data / "stories260k", "--max-length", 256, *SIZES[:4], "--limit", 120)
    assert run("train", "cmpo", *base, "--out", tmp_path / "run") == 0
    noted = capsys.readouterr().err
    assert "regression on scores" in noted
    rows = said(capsys, "evaluate", tmp_path / "run", "--data", path, "--limit", 40, "--out", tmp_path / "report")
    assert {row["objective"] for row in rows["preferences"]} == {"justified", "relevant"}

"""A disk that is really full (a small tmpfs): what was asked for is there whole or not at all, and a run goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_disk import Outcome, run_on_disk

POLICY = {"policy/policy.json", "policy/steering.safetensors", "policy/base/model.safetensors"}


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    folder = tmp_path / "disk"
    folder.mkdir()
    return folder


def refused(outcome: Outcome) -> None:
    """Exit code 2, a reason and what to do, no traceback; no unfinished file, and no JSON cut short."""
    assert outcome.code == 2, outcome.err
    assert "No space left" in outcome.err
    assert "pluralign: " in outcome.err and "Traceback" not in outcome.err
    names = [Path(name) for name in outcome.files]
    assert not [name for name in names if any(part.startswith(".") for part in name.parts) and name.name != ".lock"]
    for name, content in outcome.files.items():
        if name.endswith(".json"):
            json.loads(content)


def training(place: Path, out: Path) -> list[object]:
    files = ["--data", place / "data.jsonl", "--model", place / "model", "--out", out]
    return ["train", "cmpo", *files, "--optim.steps", 12, "--optim.batch-size", 4, "--checkpoint-every", 4]


@pytest.mark.parametrize("kilobytes", [8, 64, 120])
def test_a_training_that_fills_the_disk_goes_on_when_there_is_room(kilobytes: int, place: Path, disk: Path) -> None:
    """8 KiB hold its settings, 64 its first checkpoint, 120 everything but the policy."""
    command = training(place, disk / "run")
    full, later = run_on_disk(disk, kilobytes, command, [*command, "--resume"])
    refused(full)
    assert not [name for name in full.files if name.startswith("run/policy")]
    assert ("run/stages/fit-0/checkpoint-00000004/state.json" in full.files) == (kilobytes == 64)
    assert ("run/stages/fit-0/finished.json" in full.files) == (kilobytes == 120)
    assert later.code == 0, later.err
    assert {f"run/{name}" for name in POLICY} <= set(later.files)
    steps = [json.loads(line)["step"] for line in later.files["run/metrics.jsonl"].splitlines()]
    assert steps == list(range(1, 13))


def test_an_exported_model_is_whole_or_not_there(run_folder: Path, disk: Path) -> None:
    command = ["export", run_folder, "--steer", "kind=1", "--out", disk / "plain"]
    full, later = run_on_disk(disk, 64, command, command)
    refused(full)
    assert full.files == {}
    assert later.code == 0, later.err
    assert {"plain/model.safetensors", "plain/README.md"} <= set(later.files)


def test_a_report_is_written_file_by_file(run_folder: Path, place: Path, disk: Path) -> None:
    command = ["evaluate", run_folder, "--data", place / "data.jsonl", "--out", disk / "report"]
    full, later = run_on_disk(disk, 12, command, command)
    refused(full)
    assert later.code == 0, later.err
    assert set(full.files) < set(later.files)
    assert {"report/report.json", "report/report.html"} <= set(later.files)

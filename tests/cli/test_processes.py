"""Real processes: help without torch, killed and continued to the same bits, Ctrl-C, full disks, broken pipes."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from forked import Command

STEPS = 300
LAST = Path("policy") / "steering.safetensors"
LIGHT = (
    "import sys; from pluralign.cli import main; code = main(sys.argv[1:]); "
    "heavy = [name for name in ('torch', 'transformers', 'datasets', 'matplotlib') if name in sys.modules]; "
    "sys.exit(code or len(heavy))"
)
LEAN = (
    "import sys; from pluralign.cli import main; import torch; torch.set_num_threads(1); code = main(sys.argv[1:]); "
    "needless = [name for name in ('peft', 'datasets', 'pandas', 'matplotlib', 'trl') if name in sys.modules]; "
    "sys.exit(code or (f'imported {needless}' if needless else 0))"
)


def start(*arguments: object, **options: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pluralign", *map(str, arguments)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": env}
    return subprocess.Popen(command, **{**pipes, **options})  # type: ignore[call-overload, no-any-return]


def training(place: Path, out: Path, *more: object, steps: int = STEPS) -> list[object]:
    sizes = ["--optim.steps", steps, "--optim.batch-size", 4, "--checkpoint-every", 10]
    return ["train", "cmpo", "--data", place / "data.jsonl", "--model", place / "model", "--out", out, *sizes, *more]


@pytest.fixture(scope="module")
def whole(place: Path) -> bytes:
    """The weights of a training that nobody disturbed, in a fresh process, which imports nothing that it can do without."""
    arguments = [str(word) for word in training(place, place / "whole")]
    done = subprocess.run([sys.executable, "-c", LEAN, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return (place / "whole" / LAST).read_bytes()


def begun(command: Command, out: Path) -> None:
    """Wait until a few steps are done (and a checkpoint is written)."""
    metrics = out / "metrics.jsonl"
    while command.running and not (metrics.exists() and metrics.read_text().count("\n") > 15):
        time.sleep(0.01)
    assert command.running, command.end()


def resumed(place: Path, out: Path, folder: Path) -> str:
    code, _, said = Command(folder, *training(place, out, "--resume")).end()
    assert code == 0, said
    return said


def test_a_killed_training_ends_with_the_same_bits(place: Path, whole: bytes, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = Command(tmp_path, *training(place, out))
    begun(command, out)
    command.send(signal.SIGKILL)
    assert command.end()[0] == -signal.SIGKILL
    assert not (out / "policy").exists()
    assert "going on after step" in resumed(place, out, tmp_path)
    assert (out / LAST).read_bytes() == whole
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, STEPS + 1))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_says_how_to_go_on(place: Path, whole: bytes, tmp_path: Path, number: int) -> None:
    out = tmp_path / "run"
    command = Command(tmp_path, *training(place, out))
    begun(command, out)
    command.send(number)
    code, printed, said = command.end()
    assert (code, printed) == (130, "")
    assert "Traceback" not in said
    assert "give the same command with --resume" in said
    resumed(place, out, tmp_path)
    assert (out / LAST).read_bytes() == whole


def test_a_full_disk_leaves_a_run_that_goes_on(place: Path, whole: bytes, tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands for the disk: the first file beyond 20 kB (a checkpoint) is refused."""
    out = tmp_path / "run"
    code, printed, said = Command(tmp_path, *training(place, out), file_size=20_000).end()
    assert (code, printed) == (2, "")
    assert "Traceback" not in said
    assert "cannot write" in said
    assert not (out / "policy").exists()
    assert not [path for path in out.rglob("*") if path.name.startswith(".") and path.name != ".lock"]
    resumed(place, out, tmp_path)
    assert (out / LAST).read_bytes() == whole


def test_two_processes_do_not_share_a_run(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = Command(tmp_path, *training(place, out, steps=20_000))
    begun(command, out)
    code, _, said = Command(tmp_path, *training(place, out, "--resume", steps=20_000)).end()
    assert command.running
    command.send(signal.SIGKILL)
    command.end()
    assert code == 2
    assert "another process is working" in said


def test_a_policy_that_does_not_fit_the_disk(run_folder: Path, tmp_path: Path) -> None:
    asked = ("export", run_folder, "--steer", "kind=1", "--out", tmp_path / "out" / "merged")
    code, _, said = Command(tmp_path, *asked, file_size=20_000).end()
    assert code == 2
    assert "cannot write" in said
    assert "Traceback" not in said
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    "arguments", [["--help"], ["methods"], ["train", "--help"], ["data", "readers"], ["--version"]]
)
def test_light_verbs_import_nothing_heavy(arguments: list[str]) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", LIGHT, *arguments], capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


def test_standard_output_that_is_full_or_gone(place: Path) -> None:
    with Path("/dev/full").open("w") as full:
        process = start("data", "validate", place / "data.jsonl", stdout=full)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "No space left" in said
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    reader, writer = os.pipe()
    os.close(reader)
    process = start("data", "readers", stdout=writer)
    os.close(writer)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")


def test_prompts_come_from_standard_input(run_folder: Path, tmp_path: Path) -> None:
    typed = "tell me a joke\n\na joke now\n"
    code, printed, said = Command(tmp_path, "sample", run_folder, "--json", "--max-new-tokens", 4, typed=typed).end()
    assert code == 0, said
    assert [reply["prompt"] for reply in json.loads(printed)["replies"]] == ["tell me a joke", "a joke now"]
    code, _, said = Command(tmp_path, "sample", run_folder).end()
    assert code == 2
    assert "--prompt" in said

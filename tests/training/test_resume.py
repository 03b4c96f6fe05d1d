"""Killed at any moment and continued: bit-identical weights, and the same numbers logged."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tabular_policy
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tabular_policy import random_policy, random_source, train

from pluralign.errors import RunError
from pluralign.losses.dpo import CDPO
from pluralign.losses.regression import Regression
from pluralign.training.fit import fit
from pluralign.training.interrupt import Interrupted
from pluralign.training.optim import Optim
from pluralign.training.run import Run

PROGRAM = tabular_policy.__file__


def logged(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def same_bits(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    return train(str(folder), 40, resume=False).trainable_state(), logged(folder)


def end(folder: Path, stage: str, step: int, number: signal.Signals, *options: str) -> tuple[int, str]:
    """Train in another process and send it a signal at the beginning of a step; its exit code and its last words."""
    command = [sys.executable, PROGRAM, str(folder), "40", stage, str(step), *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), process.communicate()[1]
    process.send_signal(number)
    process.send_signal(signal.SIGCONT)
    message = process.communicate()[1]
    return process.returncode, message


@pytest.mark.slow
def test_killed_in_one_stage_stopped_in_the_next_and_continued(tmp_path, uninterrupted):
    folder = tmp_path / "run"
    code, _ = end(folder, "preferences", 7, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert len(logged(folder)) == 7  # of which three are after the checkpoint, and will be repeated

    _, message = end(folder, "scores", 21, signal.SIGTERM, "--resume")
    assert "Interrupted: stopped after step 22 of 40 of 'scores'" in message
    assert "--resume" in message
    kept = json.loads(next(folder.glob("stages/scores/checkpoint-*/state.json")).read_text())
    assert kept["step"] == len(logged(folder)) - 40 == 22  # the step was finished, logged and saved

    weights, numbers = uninterrupted
    assert same_bits(train(str(folder), 40, resume=True).trainable_state(), weights)
    assert logged(folder) == numbers


def fail() -> None:
    raise EOFError("cut")


class CutSource:
    """A source that fails once at a given step, as if the process died there."""

    live = False

    def __init__(self, step: int, act=fail) -> None:
        self.inner, self.step, self.act = random_source(), step, act

    def batch(self, step):
        if step == self.step:
            self.act()
        return self.inner.batch(step)

    def texts(self):
        return self.inner.texts()

    def state(self):
        return self.inner.state()

    def restore(self, state):
        self.inner.restore(state)


def run_with_cuts(folder: Path, cuts: list[int], every: int, **options) -> dict[str, torch.Tensor]:
    for number, cut in enumerate([*cuts, -1]):
        policy = random_policy(dropout=0.2, frozen_trunk=False)
        with Run(folder, seed=3, resume=number > 0) as run:
            try:
                fit(policy, CutSource(cut), Regression(), run.stage("train"), **options, checkpoint_every=every)
            except EOFError:
                continue
    return policy.trainable_state()


_whole: dict[int, dict[str, torch.Tensor]] = {}


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 11), max_size=3), every=st.integers(1, 12), accumulation=st.sampled_from([1, 3]))
def test_any_cuts_give_the_same_bits(tmp_path_factory, cuts, every, accumulation):
    options = {"optim": Optim(steps=12, lr=0.02, warmup=4, accumulation=accumulation), "dropout": True}
    if accumulation not in _whole:
        _whole[accumulation] = run_with_cuts(tmp_path_factory.mktemp("whole") / "run", [], 5, **options)
    cut = run_with_cuts(tmp_path_factory.mktemp("cut") / "run", sorted(cuts), every, **options)
    assert same_bits(_whole[accumulation], cut)


def test_control_c_stops_after_the_step_and_the_old_handler_is_back(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    source = CutSource(3, act=lambda: signal.raise_signal(signal.SIGINT))
    with Run(tmp_path / "run") as run:
        with pytest.raises(Interrupted, match=r"after step 4 of 9 .*--resume") as stopped:
            fit(random_policy(), source, Regression(), run.stage("train"), Optim(steps=9))
        assert not run.stage("train").finished
    assert stopped.value.exit_code == 130
    assert signal.getsignal(signal.SIGINT) is before


@pytest.fixture
def usual_control_c():
    """As in a terminal: where the tests run in the background, a shell has switched SIGINT off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_control_c_acts_at_once(tmp_path, usual_control_c):
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with Run(tmp_path / "run") as run, pytest.raises(KeyboardInterrupt):
        fit(random_policy(), CutSource(3, twice), Regression(), run.stage("train"), Optim(steps=9))


def stop_at(folder: Path, step: int = 6, **changes) -> None:
    options = {"loss": Regression(), "optim": Optim(steps=9), "seed": 0, "source": None, **changes}
    with Run(folder, seed=options["seed"], resume=(folder / "run.json").exists()) as run:
        source = options["source"] or CutSource(step)
        fit(random_policy(), source, options["loss"], run.stage("train"), options["optim"], checkpoint_every=2)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"loss": CDPO()}, "loss: "),
        ({"optim": Optim(steps=9, lr=0.5)}, "optim: "),
        ({"source": random_source(seed=9)}, "seed: 0 then, 9 now"),
        ({"source": random_source(num=5)}, "content: "),
        ({"seed": 4}, "seed: 0 then, 4 now"),
    ],
)
def test_a_resume_with_other_settings_names_them(tmp_path, changes, named):
    with pytest.raises(EOFError):
        stop_at(tmp_path / "run")
    with pytest.raises(RunError, match="resume with the same") as error:
        stop_at(tmp_path / "run", step=-1, **changes)
    assert named in str(error.value)


def test_a_finished_stage_is_only_loaded(tmp_path):
    stop_at(tmp_path / "run", step=-1)
    policy = random_policy()
    with Run(tmp_path / "run", resume=True) as run:
        # a source that fails at its first step proves that no step is made
        result = fit(policy, CutSource(0), Regression(), run.stage("train"), Optim(steps=9))
    assert result.steps == 9
    assert policy.model.heads.abs().sum() > 0
    assert not list((tmp_path / "run").glob("stages/train/*checkpoint*"))


def test_a_process_killed_while_writing_a_checkpoint_leaves_the_one_before(tmp_path):
    with pytest.raises(EOFError):
        stop_at(tmp_path / "run", step=5)
    stage = tmp_path / "run" / "stages" / "train"
    half = stage / ".checkpoint-00000006.half"
    half.mkdir()
    (half / "tensors.safetensors").write_bytes(b"half")
    with pytest.raises(EOFError):
        stop_at(tmp_path / "run", step=7)
    assert [path.name for path in stage.iterdir()] == ["checkpoint-00000006"]


def test_a_damaged_checkpoint_is_an_error_that_says_what_to_do(tmp_path):
    with pytest.raises(EOFError):
        stop_at(tmp_path / "run")
    next((tmp_path / "run").glob("stages/train/checkpoint-*/tensors.safetensors")).write_bytes(b"\0" * 64)
    with pytest.raises(RunError, match="start this stage again"):
        stop_at(tmp_path / "run")

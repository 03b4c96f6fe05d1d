"""The run folder: one process, one set of settings, stages that finish once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pluralign.errors import ConfigError, FormatVersionError, MissingExtraError, RunError, StorageError
from pluralign.training.metrics import MetricsFile, check_trackers
from pluralign.training.run import Run

CONFIG = {"optim": {"lr": 0.1, "betas": (0.9, 0.98)}, "loss": "cdpo"}


def test_a_new_run_keeps_what_is_needed_to_repeat_it(tmp_path):
    with Run(tmp_path / "a" / "run", seed=7, config=CONFIG, command="pluralign train cmpo"):
        pass
    about = json.loads((tmp_path / "a" / "run" / "run.json").read_text())
    assert about["command"] == "pluralign train cmpo"
    assert about["config"] == {"optim": {"lr": 0.1, "betas": [0.9, 0.98]}, "loss": "cdpo"}
    assert (about["format_version"], about["seed"], about["device"]) == (1, 7, "cpu")
    assert {"python", "torch", "pluralign"} <= set(about["versions"])


def test_an_existing_folder_is_refused_unless_resumed(tmp_path):
    with Run(tmp_path / "run", config=CONFIG):
        pass
    with pytest.raises(RunError, match="--resume"):
        Run(tmp_path / "run", config=CONFIG)
    with Run(tmp_path / "run", config=CONFIG, resume=True) as run:
        assert not run.stage("train").finished


def test_an_empty_folder_is_fine_and_a_foreign_one_is_not(tmp_path):
    (tmp_path / "empty").mkdir()
    Run(tmp_path / "empty").close()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("years of work")
    for resume in (False, True):
        with pytest.raises(RunError):
            Run(tmp_path / "foreign", resume=resume)
    assert [path.name for path in (tmp_path / "foreign").iterdir()] == ["thesis.tex"]
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="is a file"):
        Run(tmp_path / "file")


def test_nothing_to_resume(tmp_path):
    with pytest.raises(RunError, match="no run to resume"):
        Run(tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


def test_a_resume_with_other_settings_names_them(tmp_path):
    with Run(tmp_path / "run", config=CONFIG, seed=1):
        pass
    other = {"optim": {"lr": 0.2, "betas": (0.9, 0.98)}, "loss": "cdpo", "extra": True}
    with pytest.raises(RunError) as error:
        Run(tmp_path / "run", config=other, seed=2, resume=True)
    for change in ("optim.lr: 0.1 then, 0.2 now", "seed: 1 then, 2 now", "extra: None then, True now"):
        assert change in str(error.value)
    assert "betas" not in str(error.value)
    Run(tmp_path / "run", config=CONFIG, seed=1, resume=True).close()  # the refused one let go of the folder


def test_a_newer_run_is_refused(tmp_path):
    Run(tmp_path / "run").close()
    about = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps({**about, "format_version": 99}))
    with pytest.raises(FormatVersionError, match="newer"):
        Run(tmp_path / "run", resume=True)


def test_two_processes_cannot_work_in_one_folder(tmp_path):
    program = (
        "import sys; from pluralign.training.run import Run\n"
        f"run = Run({str(tmp_path / 'run')!r}); print('open', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "open\n"
    with pytest.raises(RunError, match="another process"):
        Run(tmp_path / "run", resume=True)
    other.kill()  # a dead process holds nothing
    other.communicate()
    Run(tmp_path / "run", resume=True).close()


def test_stages_finish_once_and_have_seeds_of_their_own(tmp_path):
    with Run(tmp_path / "run", seed=1) as run:
        stage = run.stage("sample")
        assert not stage.finished
        stage.finish({"replies": 3})
        seeds = {stage.seed, run.stage("train").seed}
    with Run(tmp_path / "run", seed=1, resume=True) as run:
        assert run.stage("sample").finished
        assert run.stage("sample").result == {"replies": 3}
        assert {run.stage("sample").seed, run.stage("train").seed} == seeds
        assert len(seeds) == 2
    with Run(tmp_path / "other", seed=2) as run:
        assert run.stage("train").seed not in seeds
        for name in ("", "../out", "a/b"):
            with pytest.raises(ConfigError, match="stage"):
                run.stage(name)


def test_trackers(tmp_path):
    with pytest.raises(ConfigError, match="unknown tracker 'excel'"):
        Run(tmp_path / "run", trackers=("excel",))
    with pytest.raises(MissingExtraError, match="pip install"):
        check_trackers(["jsonl", "wandb"], installed=lambda name: None)
    assert not (tmp_path / "run").exists()


def test_seed_out_of_range(tmp_path):
    with pytest.raises(ConfigError, match="seed"):
        Run(tmp_path / "run", seed=-1)


def test_metrics_survive_a_line_cut_in_half(tmp_path):
    file = MetricsFile(tmp_path / "metrics.jsonl")
    for step in (1, 2, 3):
        file.append({"stage": "a", "step": step, "loss": float("nan") if step == 2 else 0.5})
    file.append({"stage": "b", "step": 9})
    with file.path.open("a") as raw:
        raw.write('{"stage": "a", "st')
    assert file.read()[1] == {"stage": "a", "step": 2, "loss": None}
    file.truncate("a", 2)
    assert [(line["stage"], line["step"]) for line in file.read()] == [("a", 1), ("a", 2), ("b", 9)]


def test_a_full_disk_is_a_storage_error():
    with pytest.raises(StorageError, match=r"No space left|cannot write"):
        for _ in range(2):
            MetricsFile(Path("/dev/full")).append({"step": 1})

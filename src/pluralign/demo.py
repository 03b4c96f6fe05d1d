"""The main job in three minutes: replies, ratings, one steerable model, and the report that shows how well it obeys."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pluralign.errors import RunError
from pluralign.storage import storage_errors

if TYPE_CHECKING:
    from pluralign.evaluation.report import Report
    from pluralign.policy import Policy

log = logging.getLogger("pluralign")
SHOWN = ("helpful=1", "concise=1", "warm=.5,funny=.5", "formal=.5,cautious=.5")
PROMPT = "How do I fix it? My kettle will not boil."


@dataclass(frozen=True)
class DemoResult:
    """What the demo leaves: its report, the folder of the run, and one prompt answered under four weights."""

    report: Report
    folder: Path
    answers: dict[str, str]
    seconds: float


def demo(out: str | Path = "runs/demo", seed: int = 0, overwrite: bool = False) -> DemoResult:
    """Sample replies from the shipped lab model, rate them, train CMPO, evaluate, write the report and its pictures.

    Raises RunError for a folder in use (unless `overwrite`), StorageError.
    """
    from pluralign.data import jsonl
    from pluralign.evaluation.lab_run import LabEvaluation
    from pluralign.lab.scoring import OBJECTIVES
    from pluralign.recipes.cmpo import default
    from pluralign.recipes.lab_job import make_pool, rate, train_in_lab

    began = time.monotonic()
    folder = _fresh(Path(out), overwrite)
    records = rate(make_pool(seed), "noisy", seed)
    policy = train_in_lab(default(), records, folder, seed)
    jsonl.write(folder / "rated.jsonl.gz", records, OBJECTIVES, licence="Apache-2.0", source="lab")
    policy.save(folder / "policy")
    report = LabEvaluation(seed=seed + 1).report(policy, "CMPO on the lab", {"recipe": "cmpo default", "seed": seed})
    report.write(folder)
    return DemoResult(report, folder, answers(policy, seed), time.monotonic() - began)


def answers(policy: Policy, seed: int = 0, prompt: str = PROMPT) -> dict[str, str]:
    """The prompt answered under four different weights at temperature .7."""
    from pluralign.data.condition import parse
    from pluralign.data.record import user
    from pluralign.sampling.engine import Engine, Request

    asked = [Request(user(prompt), parse(text), seed + 7, 0.7, max_new_tokens=64) for text in SHOWN]
    return {text: done.text for text, done in zip(SHOWN, Engine(policy).generate(asked), strict=True)}


def show(result: DemoResult, write: Callable[[str], None] = print) -> None:
    """Print the answers, the report card and where the files are."""
    from rich.console import Console

    console = Console()
    write(f"\nPrompt: {PROMPT}   (temperature .7)\n")
    for weights, text in result.answers.items():
        write(f"  {weights}\n    {text}\n")
    console.print(result.report.table())
    write(f"\nDone in {result.seconds:.0f} s. Files in {result.folder}:")
    for name, what in (
        ("report.html", "the report, for reading"),
        ("report.json", "the same, for programs"),
        ("front.png", "and other pictures"),
        ("policy", "the model: pluralign sample " + str(result.folder) + ' --prompt "..." --steer "warm=.5,funny=.5"'),
        ("rated.jsonl.gz", "the rated replies it was trained on"),
    ):
        write(f"  {name:<16} {what}")


def _fresh(folder: Path, overwrite: bool) -> Path:
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file; choose a folder with --out")
    if not folder.exists() or not any(folder.iterdir()):
        return folder
    if not overwrite:
        raise RunError(f"{folder} exists already; choose another with --out, or replace it with --overwrite")
    if not (folder / "run.json").is_file():
        raise RunError(f"{folder} is no run folder, so it is not replaced; choose another with --out")
    import shutil

    with storage_errors(folder):
        shutil.rmtree(folder)
    return folder

"""One row of a comparison, in a process of its own: python -m pluralign.comparison.row FOLDER

FOLDER/job.json         what to do (`Job`)
FOLDER/spent.txt        CPU seconds of training so far
FOLDER/run, run-NAME    the training; a finished one is not repeated, a broken-off one goes on
FOLDER/cells.json.gz    the replies and their scores
FOLDER/row.json         written last: the numbers, or the error
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pluralign import settings
from pluralign.comparison import kept_cells
from pluralign.comparison.entry import Entry
from pluralign.comparison.ground import BASE, FileGround, Ground, LabGround, prepare
from pluralign.comparison.meter import OverBudgetError, metered, spent
from pluralign.data.condition import Condition, Targets, from_vector, one_hot
from pluralign.data.objective import names
from pluralign.errors import PluralignError
from pluralign.recipes.file_job import TrainOptions, train
from pluralign.storage import read_json, write_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pluralign.evaluation.report import Report
    from pluralign.evaluation.sampled import SampledEvaluation
    from pluralign.evaluation.samples import Cell
    from pluralign.policy import Policy

log = logging.getLogger("pluralign")
DONE, FAILED, STOPPED = "done", "failed", "stopped"
FEW_PAIRS = 2


@dataclass(frozen=True)
class Job:
    """What one process does: the entry (None: prepare the ground), where, and how many CPU seconds training may take."""

    entry: Entry | None
    ground: Ground
    seed: int
    limit: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        entry = None if self.entry is None else asdict(self.entry)
        return {"entry": entry, "ground": settings.to_json(self.ground), "seed": self.seed, "limit": self.limit}

    @classmethod
    def read(cls, folder: Path) -> Job:
        """From FOLDER/job.json."""
        found = read_json(folder / "job.json")
        entry = None if found["entry"] is None else Entry(**found["entry"])
        return cls(entry, settings.from_json(LabGround | FileGround, found["ground"]), found["seed"], found["limit"])


def do(folder: Path) -> dict[str, Any]:
    """Do the job of a folder; what goes wrong is the row's error."""
    job = Job.read(folder)
    if job.entry is None:
        prepare(job.ground, folder, job.seed)
        return {}
    try:
        found = _trained_and_judged(job, job.entry, folder)
    except OverBudgetError as error:
        found = {"status": STOPPED, "error": str(error), "limit": job.limit}
    except Exception as error:  # a failed method is a row, not the end of the table
        traceback.print_exc()
        shown = str(error) if isinstance(error, PluralignError) else f"{type(error).__name__}: {error}"
        found = {"status": FAILED, "error": shown}
    row = {"key": job.entry.key, "seed": job.seed, "train_seconds": spent(folder / "spent.txt"), **found}
    write_json(folder / "row.json", row)
    return row


def _trained_and_judged(job: Job, entry: Entry, folder: Path) -> dict[str, Any]:
    world = job.ground.evaluation(folder.parent, job.seed)
    if entry.extremes:
        world = replace(world, ask=extremes)
    policies = _policies(job, entry, folder, names(world.objectives))
    began = time.process_time()
    path = folder / "cells.json.gz"
    if not path.exists():
        asked = list(_asked(policies, world))
        kept_cells.write(path, [cell for policy, part in asked for cell in part.cells(policy)])
    found = _report(job, entry, folder, world, kept_cells.read(path))
    if entry.report:
        found.write(folder)
    card = found.card
    return {
        "status": DONE,
        "judge_seconds": time.process_time() - began,
        "num_weights": len(card.tables["per_weight"]),
        "numbers": dict(card.policy.values),
        **{name: dict(card.rows[name].values) for name in card.rows if name != "policy"},
        "diagonal_right": card.tables["cross_matrix"]["num_right"],
    }


def _policies(job: Job, entry: Entry, folder: Path, objectives: Sequence[str]) -> list[Policy]:
    """The trained policy, or one for each objective; training alone is metered."""
    with metered(folder / "spent.txt", job.limit if job.limit is not None else np.inf):
        options = job.ground.options(folder.parent, folder, entry, job.seed)
        if not entry.one_objective:
            return [_policy(entry, options)]
        alone = [(name, folder / f"run-{name}") for name in objectives]
        return [_policy(entry, replace(options, objectives=(name,), out=out)) for name, out in alone]


def _policy(entry: Entry, options: TrainOptions) -> Policy:
    """Trained now, gone on with, or finished before."""
    from pluralign.methods.contract import as_policy

    return as_policy(train(entry.built(), replace(options, resume=(options.out / "run.json").exists())))


def _asked(policies: Sequence[Policy], world: SampledEvaluation) -> Iterator[tuple[Policy, SampledEvaluation]]:
    """Which policy is asked for which weights.

    All weights of the grid (a front of one model answers all of them alike); of a front those that have a model; of a
    policy that searches when it answers, which costs as many replies as it searches among, few; of one policy per
    objective its own objective.
    """
    if len(policies) > 1:
        for place, policy in enumerate(policies):
            yield policy, replace(world, grid=np.eye(len(policies))[place : place + 1], ask=its_own)
        return
    (policy,) = policies
    points = getattr(policy.steering, "points", ())
    grid = world.grid
    if len(points) == 1:
        world = replace(world, ask=its_point)
    elif points:
        grid = np.array(points)
    elif policy.steering.kind == "search":
        grid = few_weights(len(world.objectives))
    yield policy, replace(world, grid=grid)


def its_own(policy: Policy, weights: NDArray[np.float64]) -> Condition | None:
    """What a policy of one objective is asked for: that one."""
    return one_hot(policy.objectives[0].name) if policy.steering.accepts else None


def its_point(policy: Policy, weights: NDArray[np.float64]) -> Condition | None:
    """What a front of one model is asked for, whatever is wanted: the compromise that it was trained for."""
    return from_vector(policy.steering.points[0], policy.objectives)  # type: ignore[attr-defined]


def extremes(policy: Policy, weights: NDArray[np.float64]) -> Condition | None:
    """One objective as the best score on it and the worst on all others; mixed weights as they are."""
    from pluralign.evaluation.sampled import question

    if not np.isclose(weights.max(), 1.0):
        return question(policy, weights)
    asked = np.isclose(weights, 1.0)
    higher = [objective.direction == "higher" for objective in policy.objectives]
    ends = [
        objective.high if up == wanted else objective.low
        for objective, up, wanted in zip(policy.objectives, higher, asked, strict=True)
    ]
    return Targets(dict(zip(names(policy.objectives), map(float, ends), strict=True)))


def few_weights(num: int) -> NDArray[np.float64]:
    """[G, K]: the one-hots, the uniform weight and two pairs (1st and 2nd, 3rd and 4th)."""
    pairs = [np.eye(num)[first : first + 2].mean(0) for first in range(0, min(2 * FEW_PAIRS, num - 1), 2)]
    rows = np.array([*np.eye(num), np.full(num, 1 / num), *pairs])
    return rows[np.sort(np.unique(rows, axis=0, return_index=True)[1])]


def _report(job: Job, entry: Entry, folder: Path, world: SampledEvaluation, cells: Sequence[Cell]) -> Report:
    """The card; with intervals where the entry asks for a whole report."""
    from pluralign.evaluation.report import report
    from pluralign.evaluation.samples import Samples

    base = kept_cells.read(folder.parent / BASE)
    yardstick = job.ground.yardstick(base)
    texts = {record.id or "": record.messages[-1].content for record in world.records}
    samples = Samples(world.objectives, tuple(cells), beside(cells, base), (), texts)
    about = {"method": entry.method, "recipe": entry.title, "seed": job.seed, "raters": entry.raters}
    return report(samples, entry.title, yardstick, about, resamples=500 if entry.report else 0, seed=job.seed + 1)


def beside(cells: Sequence[Cell], base: Sequence[Cell]) -> tuple[Cell, ...]:
    """The base's cells of the same grid; where the row has another grid, all of the base's replies as one."""
    same = len(cells) == len(base) and all(
        np.allclose(ours.weights, theirs.weights, atol=1e-6) for ours, theirs in zip(cells, base, strict=True)
    )
    return tuple(base) if same else (kept_cells.merged(base),)


def main(arguments: Sequence[str]) -> int:
    """Do the job of the folder named; 0 whatever became of the row, since the row says it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True)
    do(Path(arguments[0]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

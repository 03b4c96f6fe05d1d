"""What the papers' comparisons share: a model fine-tuned on the demonstrations, from which every row starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pluralign.comparison.compare import Comparison, Row
from pluralign.comparison.entry import Entry, shortened
from pluralign.comparison.ground import HELD_OUT, JUDGED, POOL, FileGround
from pluralign.comparison.options import CompareOptions
from pluralign.comparison.row import DONE
from pluralign.recipes.file_job import TrainOptions, load_data, train
from pluralign.storage import atomic_write, write_json

if TYPE_CHECKING:
    from pluralign.data.objective import Objective
    from pluralign.data.record import Record
    from pluralign.policy import Policy

NO_NUMBER = "–"


@dataclass(frozen=True)
class Start:
    """The division of the data, the fine-tuned model and its folder.

    `train`, `held_out` and `prompts` are files; `sft` is the policy, `model` the plain model that rows start from.
    """

    train: Path
    held_out: Path
    prompts: Path
    sft: Policy
    model: Path

    def records(self) -> tuple[list[Record], tuple[Objective, ...]]:
        """Held-out records with what people said of their replies."""
        found = load_data(self.held_out)
        return found.records, found.objectives


def start(options: CompareOptions, convert: Callable[[Path], None] = lambda path: None) -> Start:
    """Divide the data, fine-tune the base on the training part, and write the plain model; each once.

    `convert` may rewrite the file of the training part before anything learns from it.
    """
    from pluralign.export.whole import export
    from pluralign.methods.sft import Sft
    from pluralign.settings import from_json, to_json

    data, scorer = options.needs_data()
    folder = options.work / "start"
    if not (folder / POOL).exists():
        ground = FileGround(
            data=str(data), model=options.model, scorer=scorer, reader=options.reader, prompts=options.prompts
        )
        ground.make_pool(folder, 0)
        convert(folder / POOL)
    method = from_json(Sft, shortened(to_json(Sft()), options.max_steps))
    run = folder / "sft"
    resume = (run / "run.json").exists()
    how = TrainOptions(data=folder / POOL, model=options.model, out=run, device=options.device, resume=resume)
    sft: Any = train(method, how)
    if not (folder / "model").exists():
        export(sft, folder / "model", None)
    return Start(folder / POOL, folder / JUDGED, folder / HELD_OUT, sft, folder / "model")


def comparison(options: CompareOptions, begun: Start, entries: Sequence[Entry], **more: Any) -> Comparison:
    """Rows that start from the fine-tuned model, on the same division."""
    data, scorer = options.needs_data()
    first, other = options.replies or (2, 1)
    ground = FileGround(
        data=str(data),
        model=str(begun.model),
        scorer=scorer,
        reader=options.reader,
        prompts=options.prompts,
        one_hot_each=first,
        other_each=other,
        max_new_tokens=options.max_new_tokens,
        device=options.device,
        **more,
    )
    return Comparison(
        entries=tuple(entries),
        ground=ground,
        work=options.work,
        seeds=tuple(range(options.seeds)),
        budget=options.budget,
        jobs=options.jobs,
        again=options.again,
    )


def done(rows: Sequence[Row]) -> list[Row]:
    """Rows that have a policy."""
    return [row for row in rows if row["status"] == DONE]


def policies(made: Comparison, row: Row, objectives: Sequence[str] = ()) -> list[Policy]:
    """The policy of a finished row, or one for each objective."""
    from pluralign.policy import Policy
    from pluralign.recipes.scorer import give_judge

    folder = made.folder(row["seed"], row["key"])
    found = [folder / "run"] if (folder / "run").exists() else [folder / f"run-{name}" for name in objectives]
    return [give_judge(Policy.load(each / "policy", device=made.ground.device)) for each in found]


def failures(rows: Sequence[Row]) -> list[str]:
    """Lines on the rows that are not done."""
    lost = [f"- {row['title']}, seed {row['seed']}: {row['error']}" for row in rows if row["status"] != DONE]
    return ["Not in the tables:", "", *lost, ""] if lost else []


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Markdown lines."""
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines] + [""]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if np.isfinite(value) else NO_NUMBER
    return NO_NUMBER if value is None else str(value).replace("|", "\\|")


def written(
    options: CompareOptions, title: str, command: str, lines: Sequence[str], found: dict[str, Any]
) -> dict[str, Any]:
    """Write the page and its numbers; the numbers."""
    from pluralign.evaluation.rows import plain

    head = [f"# {title}", "", f"Printed by `{command}`.", ""]
    if options.max_steps is not None:
        head += [f"A trial: every training was cut to {options.max_steps} steps, so that the numbers say nothing.", ""]
    atomic_write(options.page, "\n".join([*head, *lines]).rstrip() + "\n")
    known: dict[str, Any] = plain(found)
    write_json(options.work / f"{options.table}.json", known)
    return known

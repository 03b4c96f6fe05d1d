"""What the papers' comparisons share: the model that every row starts from, and the page.

Most papers fine-tune a model on the demonstrations first; toxicity starts from the base as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pluralign import settings
from pluralign.comparison.compare import Comparison, Row, same_as_before
from pluralign.comparison.entry import Entry, shortened
from pluralign.comparison.ground import JUDGED, POOL, FileGround
from pluralign.comparison.options import CompareOptions
from pluralign.comparison.row import DONE
from pluralign.comparison.shown import plain_name
from pluralign.recipes.file_job import TrainOptions, load_data, train
from pluralign.storage import atomic_write, write_json

if TYPE_CHECKING:
    from pluralign.data.record import Record
    from pluralign.policy import Policy

NO_NUMBER = "–"
CHOOSING = 0.1
"""Share of the demonstrations that choose the fine-tuned model's checkpoint."""


@dataclass(frozen=True)
class Start:
    """The ground that rows stand on, records with what people said of their replies, and the model that rows start from.

    `sft`: the fine-tuned policy; None where rows start from the base as it is.
    """

    ground: FileGround
    held_out: Sequence[Record]
    sft: Policy | None


def start(options: CompareOptions, fine_tune: bool = True, **more: Any) -> Start:
    """Divide the data and fine-tune the base on the training part, each once; `more`: fields of the ground.

    Without any demonstration in the data rows start from the base. Raises ConfigError for a folder that holds a start of
    other data or settings.
    """
    from pluralign.methods.sft import Sft

    ground = _ground(options, **more)
    folder = options.work / "start"
    method = settings.from_json(Sft, shortened(settings.to_json(Sft()), options.max_steps)) if fine_tune else None
    what = "a comparison that started from other data, another model or judge, or a training of another length"
    begun_with = [settings.to_json(ground), method and [settings.to_json(method), CHOOSING]]
    same_as_before(folder / "start.json", begun_with, options.work, what)
    if not (folder / POOL).exists():
        ground.make_pool(folder, 0)
    ground.evaluation(folder, 0)  # a judge that does not fit the data is refused before anything is trained
    held_out = load_data(folder / JUDGED).records
    if method is None or not any(record.responses for record in load_data(folder / POOL).records):
        return Start(ground, held_out, None)
    sft = _fine_tuned(method, folder, options)
    return Start(_ground(options, **{**more, "model": str(folder / "model")}), held_out, sft)


def _ground(options: CompareOptions, **more: Any) -> FileGround:
    data, scorer = options.needs_data()
    first, other = options.replies or (2, 1)
    how: dict[str, Any] = {
        "model": options.model,
        "reader": options.reader,
        "prompts": options.prompts,
        "one_hot_each": first,
        "other_each": other,
        "max_new_tokens": options.max_new_tokens,
        "device": options.device,
    }
    return FileGround(data=str(data), scorer=scorer, **{**how, **more})


def _fine_tuned(method: Any, folder: Path, options: CompareOptions) -> Policy:
    """The policy, and beside it the plain model that rows start from. Some of the training part chooses the checkpoint
    (the thesis: the best validation loss); what rows are judged on is not looked at."""
    from pluralign.export.whole import export

    run = folder / "sft"
    resume = (run / "run.json").exists()
    learnt, choosing = _divided(folder)
    how = TrainOptions(
        data=learnt, model=options.model, out=run, validation=choosing, device=options.device, resume=resume
    )
    sft: Policy = train(method, how)  # type: ignore[assignment]
    if not (folder / "model").exists():
        export(sft, folder / "model", None)
    return sft


def _divided(folder: Path) -> tuple[Path, Path | None]:
    """The demonstrations that are learnt, and those that choose; data that is too small for both is learnt whole."""
    from pluralign.data import jsonl
    from pluralign.data.split import split

    found = load_data(folder / POOL)
    parts: dict[str, list[Record]] = {"learnt": [], "choosing": []}
    for part, record in split(found.records, {"learnt": 1 - CHOOSING, "choosing": CHOOSING}, seed=1):
        parts[part].append(record)
    if not all(any(record.responses for record in records) for records in parts.values()):
        return folder / POOL, None
    for part, records in parts.items():
        jsonl.write(folder / f"{part}.jsonl", records, found.objectives)
    return folder / "learnt.jsonl", folder / "choosing.jsonl"


def comparison(options: CompareOptions, begun: Start, entries: Sequence[Entry]) -> Comparison:
    """Rows that start from the same model, on the same division."""
    return Comparison(
        entries=tuple(entries),
        ground=begun.ground,
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


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Markdown lines."""
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines] + [""]


def number(value: float) -> str:
    """Three digits behind the point; a dash for NaN."""
    return f"{value:.3f}" if np.isfinite(value) else NO_NUMBER


def with_interval(value: float, interval: Sequence[float]) -> str:
    """A number and its interval behind it, where there is one."""
    low, high = interval
    return f"{value:.3f} [{low:.2f}, {high:.2f}]" if np.isfinite(low) else number(value)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return number(value)
    return NO_NUMBER if value is None else str(value).replace("|", "\\|")


@dataclass(frozen=True)
class NamedPage:
    """A paper's page: `about`, what is compared and how it is measured; `lines`, its tables; `found`, their numbers."""

    title: str
    about: str
    lines: Sequence[str]
    found: dict[str, Any]

    def write(self, options: CompareOptions, command: str, begun: Start, rows: Sequence[Row]) -> dict[str, Any]:
        """Write the page, and the numbers beside it in the work folder; the numbers."""
        from pluralign.evaluation.rows import plain

        head = [f"# {self.title}", "", f"Printed by `{command}`.", "", _ground_told(options, begun), "", self.about, ""]
        if options.max_steps is not None:
            head += [f"A trial: every training was cut to {options.max_steps} steps; the numbers say nothing.", ""]
        lines = [*head, *self.lines, *_costs(rows), *_failures(rows)]
        atomic_write(options.page, "\n".join(lines).rstrip() + "\n")
        known: dict[str, Any] = plain(self.found)
        write_json(options.work / f"{options.table}.json", known)
        return known


def _ground_told(options: CompareOptions, begun: Start) -> str:
    """What the rows stand on, in a sentence or two."""
    ground = begun.ground
    prompts = len(ground.evaluation(options.work / "start", 0).records)
    tuned = ", fine-tuned on the training part's replies" if begun.sft is not None else ", as it is"
    seeds = "one seed" if options.seeds == 1 else f"{options.seeds} seeds"
    return (
        f"Data {Path(ground.data).name}, of which a tenth of the prompts is held out. Rows start from "
        f"{plain_name(options.model)}{tuned}. Replies to {prompts} held-out prompt{'s' * (prompts != 1)}, at most {ground.max_new_tokens} tokens, "
        f"{'greedy' if ground.temperature == 0 else f'T = {ground.temperature:g}'}; judged by {plain_name(ground.scorer)}; "
        f"{seeds}."
    )


def _costs(rows: Sequence[Row]) -> list[str]:
    """How long each finished row was trained."""
    by: dict[str, list[Row]] = {}
    for row in done(rows):
        by.setdefault(row["title"], []).append(row)
    lines = [[title, " / ".join(f"{row['train_seconds']:.0f}" for row in own)] for title, own in by.items()]
    told = "CPU seconds of all models that a row needs, with the sampling and scoring in between, of each seed."
    return ["## Cost of training", "", told, "", *table(["row", "CPU s"], lines)] if lines else []


def _failures(rows: Sequence[Row]) -> list[str]:
    lost = [f"- {row['title']}, seed {row['seed']}: {row['error']}" for row in rows if row["status"] != DONE]
    return ["Not in the tables:", "", *lost, ""] if lost else []

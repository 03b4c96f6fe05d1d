"""A training from files: what to train on, which base, where it goes; repeated and resumed from its run folder."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pluralign import settings
from pluralign.data.objective import Objective, known
from pluralign.errors import ConditionError, ConfigError, DataError, FormatVersionError, ModelError, RunError
from pluralign.recipes.registry import method_class, method_id, recipe
from pluralign.recipes.scorer import open_scorer, scorer_name
from pluralign.storage import check_format_version, read_json

if TYPE_CHECKING:
    from pluralign.data.record import Record
    from pluralign.methods.contract import Method
    from pluralign.policy import Policy
    from pluralign.reward_model import RewardModel
    from pluralign.training.run import Run

log = logging.getLogger("pluralign")


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What to train on, and where."""

    data: Path
    """file of records, or of any format that `pluralign data validate` recognises"""
    model: str
    """base model: a Hugging Face folder or hub id; 'lab' and 'nano' are the shipped ones"""
    out: Path
    """run folder; must be new, or hold an interrupted run (with --resume)"""
    validation: Path | None = None
    """file whose judgements choose the checkpoint"""
    prompts: Path | None = None
    """file of prompts that on-policy methods answer; none means those of the data"""
    scorer: str | None = None
    """who judges new replies: lab, a reward model's folder, judge:..., or module:Class (methods that answer while they train, or search when they answer)"""
    reader: str = "auto"
    """format of the data (see `pluralign data readers`), or module:object"""
    map: str | None = None
    """columns of a table that no reader knows: prompt=question,response=answer,helpful=stars"""
    on_error: Literal["raise", "skip"] = "raise"
    """what to do with a bad row; skipped rows are counted and printed"""
    constituents: Literal["none", "group", "rater"] = "none"
    """what a head stands for: none, the data's objectives; group or rater, those who judged, each an objective"""
    objectives: tuple[str, ...] = ()
    """objectives to train on; none given means all of the data"""
    limit: int | None = None
    """use only so many records, drawn by the seed"""
    seed: int = 0
    """of every random draw"""
    device: str = "cpu"
    """cpu, cuda or cuda:N"""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """of the base weights"""
    template: str | None = None
    """chat template: plain, dialogue, thesis or a jinja text; none means the tokenizer's own, else plain"""
    max_length: int | None = None
    """tokens of prompt and response together; none means the model's context"""
    truncate: Literal["left", "reject"] = "left"
    """what to do with a prompt that is too long"""
    adapter: Path | None = None
    """peft LoRA folder that is merged into the base first"""
    trackers: tuple[str, ...] = ("jsonl",)
    """where metrics go: jsonl (always), tensorboard, wandb"""
    resume: bool = False
    """go on with the interrupted run in `out`"""


@dataclass(frozen=True)
class Data:
    """Records in memory, their objectives and where they come from."""

    records: list[Record]
    objectives: tuple[Objective, ...]
    lineage: dict[str, Any]


def base_model(name: str) -> str:
    """The folder of a shipped base model by its short name; any other name as it is."""
    from pluralign.lab.shipped import base_path

    return str(base_path("base" if name == "lab" else name)) if name in ("lab", "nano") else name


def load_data(
    path: str | Path,
    reader: str = "auto",
    on_error: Literal["raise", "skip"] = "raise",
    objectives: Sequence[str] = (),
    limit: int | None = None,
    seed: int = 0,
    mapping: str | None = None,
    side: Path | None = None,
    by: Literal["none", "group", "rater"] = "none",
) -> Data:
    """Read a file; `limit` draws so many records by the seed; rejected rows go to the file `side`. Raises DataError, ConditionError (unknown objective)."""
    import numpy as np

    from pluralign.data.conversions.constituents import constituents
    from pluralign.data.dataset import Tally
    from pluralign.data.readers.registry import read
    from pluralign.data.rejects import rejects

    if limit is not None and limit < 1:
        raise ConfigError(f"limit must be at least 1 record, got {limit}; leave it out to use all")
    if seed < 0:
        raise ConfigError(f"a seed is a non-negative integer, got {seed}")
    dataset = read(path, reader, on_error, mapping)
    dataset = dataset if by == "none" else constituents(dataset, by)
    with contextlib.nullcontext(Tally()) if side is None else rejects(side) as tally:
        records = list(dataset.records(tally))
    if tally.rejected:
        log.warning("%s: %s%s", path, tally, "" if side is None else f"\nrejected rows with their reasons: {side}")
    if not records:
        why = (
            f"holds no usable record: {tally}" if tally.rejected else "holds no records; give a file with at least one"
        )
        raise DataError(why, path=path)
    known(objectives, dataset.objectives)
    chosen = tuple(o for o in dataset.objectives if not objectives or o.name in objectives)
    if limit is not None and limit < len(records):
        order = np.random.default_rng(seed).permutation(len(records))[:limit]
        records = [records[int(place)] for place in sorted(order)]
    about = {"source": dataset.source or Path(path).name, "licence": dataset.licence, "records": len(records)}
    return Data(records, chosen, about)


def train(method: Method | str, options: TrainOptions, command: str = "") -> Policy | RewardModel:
    """Train a method (or the default recipe of one) and save its policy in `out`/policy (a reward model in `out`/reward).

    Stages that an earlier process finished are skipped with `resume`. Raises PluralignError of many kinds, each with
    what to do.
    """
    from pluralign.methods.contract import TrainingData
    from pluralign.training.run import Run

    built = recipe(method) if isinstance(method, str) else method
    config = {"method": method_id(built), "settings": settings.to_json(built), "options": _as_json(options)}
    with (
        Run(
            options.out,
            seed=options.seed,
            device=options.device,
            config=config,
            command=command,
            resume=options.resume,
            trackers=options.trackers,
        ) as run,
        _discarded_if_not_begun(run),
    ):
        wanted = (options.objectives, options.limit, options.seed, options.map)
        side = options.out / "rejected.jsonl" if options.on_error == "skip" else None
        data = load_data(options.data, options.reader, options.on_error, *wanted, side=side, by=options.constituents)
        held_out = _held_out(options, data)
        asked = [] if options.prompts is None else load_data(options.prompts).records
        judge = None if options.scorer is None else open_scorer(options.scorer, options.device)
        policy = _fresh_policy(built, options, data)
        given = TrainingData(data.records, data.objectives, held_out, asked, judge, scorer_name(options.scorer))
        trained = built.train(policy, given, run)
        done = run.stage("policy")
        if not done.finished:
            trained.save(options.out / trained.folder_name, overwrite=True)
            done.finish()
    return trained


def _fresh_policy(method: Method, options: TrainOptions, data: Data) -> Policy:
    """The base model with the method's steering, reading no more than its context. Raises ModelError, ConfigError."""
    from pluralign.policy import Policy
    from pluralign.sampling.engine import context

    adapter = {} if options.adapter is None else {"adapter": str(options.adapter)}
    policy = Policy.from_base(
        base_model(options.model),
        method.new_steering(data.objectives),
        data.objectives,
        template=options.template,
        max_length=options.max_length,
        truncate=options.truncate,
        dtype=options.dtype,
        adapter=options.adapter,
        lineage={"method": method_id(method), "data": [data.lineage], **adapter},
    )
    longest = context(policy)
    if options.max_length is None:
        policy.encoder.max_length = longest
    elif longest is not None and options.max_length > longest:
        raise ConfigError(f"max_length {options.max_length} is beyond the model's context of {longest} tokens")
    return policy


def _held_out(options: TrainOptions, data: Data) -> list[Record]:
    if options.validation is None:
        return []
    side = options.out / "rejected_validation.jsonl" if options.on_error == "skip" else None
    found = load_data(
        options.validation, options.reader, options.on_error, mapping=options.map, side=side, by=options.constituents
    )
    known([objective.name for objective in data.objectives], found.objectives)
    return found.records


@contextlib.contextmanager
def _discarded_if_not_begun(run: Run) -> Iterator[None]:
    """A new run that wrong input stopped before its first stage leaves no folder, so that its name is free."""
    try:
        yield
    except (DataError, ConditionError, ConfigError, ModelError, FormatVersionError):
        if not run.resumed and not (run.folder / "stages").exists():
            run.close()
            shutil.rmtree(run.folder, ignore_errors=True)
        raise


def _as_json(options: TrainOptions) -> dict[str, Any]:
    plain = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    for transient in ("resume", "out"):
        plain.pop(transient)
    return {name: str(value) if isinstance(value, Path) else value for name, value in plain.items()}


def settings_of_run(run: str | Path) -> tuple[Method, dict[str, Any]]:
    """(method, options) that a run folder was trained with, to repeat it."""
    from pluralign.training.run import FORMAT_VERSION

    path = Path(run) / "run.json"
    if not path.is_file():
        raise RunError(f"{run} is no run folder: it has no run.json; give the folder that --out named")
    about = read_json(path)
    try:
        check_format_version(about.get("format_version"), FORMAT_VERSION, path)
        config = about["config"]
        cls = method_class(config["method"])
        return settings.from_json(cls, config["settings"]), dict(config["options"])
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{run} is no run of `pluralign train`; its run.json has no method and settings") from error

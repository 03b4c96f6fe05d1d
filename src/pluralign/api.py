"""The public calls, one per verb of the command line. They read and write plain files; torch is imported inside."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pluralign import settings
from pluralign.data.condition import Condition, parse
from pluralign.data.objective import Objective, known
from pluralign.errors import ConfigError, DataError, RunError
from pluralign.plugins import load_class, module_names
from pluralign.storage import read_json

if TYPE_CHECKING:
    from pluralign.data.record import Record
    from pluralign.evaluation.report import Report
    from pluralign.methods.contract import Method
    from pluralign.policy import Policy

log = logging.getLogger("pluralign")
NOT_METHODS = {"contract"}


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
    reader: str = "auto"
    """format of the data (see `pluralign data readers`), or module:object"""
    on_error: Literal["raise", "skip"] = "raise"
    """what to do with a bad row; skipped rows are counted and printed"""
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
) -> Data:
    """Read a file; `limit` draws so many records by the seed. Raises DataError, ConditionError (unknown objective)."""
    import numpy as np

    from pluralign.data.dataset import Tally
    from pluralign.data.readers.registry import read

    dataset = read(path, reader, on_error)
    tally = Tally()
    records = list(dataset.records(tally))
    if tally.rejected:
        log.warning("%s: %s", path, tally)
    if not records:
        raise DataError("holds no records; give a file with at least one", path=path)
    known(objectives, dataset.objectives)
    chosen = tuple(o for o in dataset.objectives if not objectives or o.name in objectives)
    if limit is not None and limit < len(records):
        order = np.random.default_rng(seed).permutation(len(records))[:limit]
        records = [records[int(place)] for place in sorted(order)]
    about = {"source": dataset.source or Path(path).name, "licence": dataset.licence, "records": len(records)}
    return Data(records, chosen, about)


def method_names() -> list[str]:
    """Ids of the methods, found by file name."""
    return [name for name in module_names("pluralign.methods") if name not in NOT_METHODS]


def method_class(name: str) -> Any:
    """A method's class by id or as module:Class. Raises ConfigError naming the known ones."""
    if ":" not in name and name not in method_names():
        raise ConfigError(f"unknown method {name!r}; known are: {', '.join(method_names())} (or module:Class)")
    return load_class(name, "pluralign.methods", __name__=name.title()) if ":" not in name else load_class(name, "")


def recipe_names(method: str) -> list[str]:
    """Recipes of a method: the public functions of its file in `recipes`, or only 'default'."""
    return sorted(_recipes(method)) or ["default"]


def recipe(method: str, name: str = "default") -> Method:
    """The method with every number set. Raises ConfigError naming the recipes there are."""
    found = _recipes(method)
    if name in found:
        return found[name]()
    if name == "default":
        return method_class(method)()
    raise ConfigError(f"{method} has no recipe {name!r}; there are: {', '.join(recipe_names(method))}")


def _recipes(method: str) -> dict[str, Any]:
    import importlib

    if method not in module_names("pluralign.recipes"):
        return {}
    module = importlib.import_module(f"pluralign.recipes.{method}")
    functions = {name: value for name, value in vars(module).items() if not name.startswith("_") and callable(value)}
    return {name: value for name, value in functions.items() if getattr(value, "__module__", "") == module.__name__}


def train(method: Method | str, options: TrainOptions, command: str = "") -> Policy:
    """Train a method (or the default recipe of one) and save its policy in `out`/policy.

    Stages that an earlier process finished are skipped with `resume`. Raises PluralignError of many kinds, each with
    what to do.
    """
    from pluralign.methods.contract import TrainingData
    from pluralign.policy import Policy
    from pluralign.training.run import Run

    built = recipe(method) if isinstance(method, str) else method
    config = {"method": type(built).__name__.lower(), "settings": settings.to_json(built), "options": _as_json(options)}
    with Run(
        options.out,
        seed=options.seed,
        device=options.device,
        config=config,
        command=command,
        resume=options.resume,
        trackers=options.trackers,
    ) as run:
        data = load_data(
            options.data, options.reader, options.on_error, options.objectives, options.limit, options.seed
        )
        held_out = load_data(options.validation, options.reader, options.on_error) if options.validation else None
        policy = Policy.from_base(
            base_model(options.model),
            built.new_steering(data.objectives),
            data.objectives,
            template=options.template,
            max_length=options.max_length,
            truncate=options.truncate,
            dtype=options.dtype,
            adapter=options.adapter,
            lineage={"method": config["method"], "data": [data.lineage]},
        )
        given = TrainingData(data.records, data.objectives, held_out.records if held_out else [])
        policy = built.train(policy, given, run)
        done = run.stage("policy")
        if not done.finished:
            policy.save(options.out / "policy", overwrite=True)
            done.finish()
    return policy


def _as_json(options: TrainOptions) -> dict[str, Any]:
    plain = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    for transient in ("resume", "out"):
        plain.pop(transient)
    return {name: str(value) if isinstance(value, Path) else value for name, value in plain.items()}


def settings_of_run(run: str | Path) -> tuple[Method, dict[str, Any]]:
    """(method, options) that a run folder was trained with, to repeat it."""
    about = read_json(Path(run) / "run.json")
    try:
        config = about["config"]
        cls = method_class(config["method"])
        return settings.from_json(cls, config["settings"]), dict(config["options"])
    except (KeyError, TypeError) as error:
        raise RunError(f"{run} is no run of `pluralign train`; its run.json has no method and settings") from error


def load_policy(path: str | Path, device: str = "cpu", dtype: str = "float32") -> Policy:
    """A policy from its folder, or from the run folder that trained it."""
    from pluralign.policy import Policy

    inner = Path(path) / "policy"
    if not (inner / "policy.json").is_file() and (Path(path) / "run.json").is_file():
        raise RunError(f"the run in {path} is not finished; continue it with --resume")
    return Policy.load(inner if (inner / "policy.json").is_file() else path, device=device, dtype=dtype)


def condition_of(text: str | Condition | None) -> Condition | None:
    """A condition from its text ("helpful=.7,brief=.3 @1.5"); anything else as it is."""
    return parse(text) if isinstance(text, str) else text


def sample(
    policy: Policy,
    prompts: Sequence[str],
    steer: str | Condition | None = None,
    *,
    num: int = 1,
    seed: int = 0,
    temperature: float = 0.7,
    top_p: float = 1.0,
    max_new_tokens: int = 128,
) -> list[list[str]]:
    """`num` replies to each prompt under one condition: a list of texts per prompt."""
    from pluralign.data.record import Record, user
    from pluralign.sampling.local import Decoding, complete

    condition = condition_of(steer)
    records = [Record(user(prompt)) for prompt in prompts]
    how = Decoding(temperature, top_p, max_new_tokens)
    drawn = complete(policy, records, [condition] * len(records), num, seed, how)
    return [[completion.text for completion in replies] for replies in drawn]


def evaluate(
    policy: Policy, data: Data | None = None, *, seed: int = 0, temperature: float = 1.0, split: str = "test"
) -> Report:
    """A report: the lab's card for a policy of the lab's objectives, preference accuracy on `data` where given.

    Raises ConfigError where there is neither.
    """
    from pluralign.evaluation.accuracy import accuracy_table
    from pluralign.evaluation.card import Card
    from pluralign.evaluation.preferences import judged
    from pluralign.evaluation.report import Report

    about = {"lineage": policy.lineage, "steering": {"kind": policy.steering.kind, **policy.steering.config()}}
    if data is None:
        return _lab_report(policy, seed, temperature, split, about)
    rows = accuracy_table(judged(policy, data.records, data.objectives), seed=seed)
    reason = "no scorer for new replies was given, so only preference accuracy is reported"
    known_about = {**about, "data": data.lineage}
    return Report("Preference accuracy", policy.objectives, Card.absent(reason), (), tuple(rows), known_about)


def _lab_report(policy: Policy, seed: int, temperature: float, split: str, about: dict[str, Any]) -> Report:
    from pluralign.evaluation.lab_run import LabEvaluation
    from pluralign.lab.scoring import OBJECTIVES

    if [o.name for o in policy.objectives] != [o.name for o in OBJECTIVES]:
        raise ConfigError("this policy does not have the lab's objectives; give the data to judge it on with --data")
    run = LabEvaluation(split=split, seed=seed, temperature=temperature)  # type: ignore[arg-type]
    return run.report(policy, f"{policy.lineage.get('method', 'policy')} on the lab", about)


def about_method(name: str) -> str:
    """One line on a method, read from its file without importing it."""
    import ast
    from importlib.util import find_spec

    spec = find_spec(f"pluralign.methods.{name}")
    assert spec is not None and spec.origin is not None, name
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return text.splitlines()[0] if text else ""


def score(source: str | Path, out: str | Path, scorer: str = "lab") -> int:
    """Score a file of records and write it; returns how many. `scorer` is 'lab' or module:Class."""
    from pluralign.data import jsonl
    from pluralign.data.readers.registry import read

    if scorer != "lab" and ":" not in scorer:
        raise ConfigError(f"unknown scorer {scorer!r}; known is lab (or module:Class of your own)")
    cls = load_class("pluralign.lab.scoring:ExactScorer" if scorer == "lab" else scorer, "")
    found = cls()
    dataset = read(source)
    kept = [objective for objective in dataset.objectives if objective.name not in {o.name for o in found.objectives}]
    objectives = [*kept, *found.objectives]
    return jsonl.write(out, found.score(dataset.records()), objectives, dataset.licence, dataset.source)


def export(
    policy: Policy,
    out: str | Path,
    steer: str | Condition | None = None,
    format: Literal["merged", "lora"] = "merged",
    report: str | Path | None = None,
) -> Path:
    """Write the policy at one condition as a plain model, or as a peft adapter. Raises ModelError, StorageError."""
    from pluralign import export as exporting

    condition = condition_of(steer)
    if format == "lora":
        return exporting.export_lora(policy, out, condition)
    return exporting.export(policy, out, condition, report=None if report is None else read_json(report))


def validate(path: str | Path, reader: str = "auto", on_error: Literal["raise", "skip"] = "skip") -> dict[str, Any]:
    """Read a file to its end: reader, objectives, licence, counts, and whether its ratings share a halo."""
    from pluralign.data.dataset import Tally
    from pluralign.data.halo import halo
    from pluralign.data.readers.registry import read

    dataset = read(path, reader, on_error)
    tally = Tally()
    for _ in dataset.records(tally):
        pass
    if not tally.kept:
        raise DataError(f"holds no usable record: {tally}", path=path)
    return {
        "reader": dataset.reader,
        "objectives": ", ".join(f"{o.name} [{o.low:g}, {o.high:g}]" for o in dataset.objectives) or "none",
        "licence": dataset.licence or "not declared",
        "rows": str(tally),
        "read": tally.read,
        "kept": tally.kept,
        "rejected": tally.rejected,
        "halo": halo(dataset, dataset.objectives).advice if len(dataset.objectives) > 1 else "only one objective",
    }


def convert(
    source: str | Path, out: str | Path, to: str = "pluralign", reader: str = "auto", conversational: bool = True
) -> dict[str, Any]:
    """Convert a file to our records or to a TRL format ('trl-preference' ...); what a format cannot hold is counted."""
    from pluralign.data import jsonl
    from pluralign.data.readers import trl
    from pluralign.data.readers.registry import read

    dataset = read(source, reader)
    if to == "pluralign":
        rows = jsonl.write(out, dataset.records(), dataset.objectives, dataset.licence, dataset.source)
        return {"rows": rows, "left_out": {}}
    if not to.startswith("trl-"):
        raise ConfigError(f"cannot convert to {to!r}; write pluralign or trl-FORMAT, e.g. trl-preference")
    written = trl.write(out, dataset.records(), to.removeprefix("trl-").replace("-", "_"), conversational)
    return {"rows": written.num_rows, "left_out": dict(written.left_out)}

"""The public calls, one per verb of the command line. They read and write plain files; torch is imported inside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pluralign.comparison.options import CompareOptions
from pluralign.comparison.tables import compare
from pluralign.data.condition import Bounds, Condition, parse
from pluralign.data.presets import Presets
from pluralign.data_api import annotate, convert, forget, split, validate
from pluralign.errors import ConfigError, ModelError, RunError
from pluralign.recipes.file_job import Data, TrainOptions, base_model, load_data, settings_of_run, train
from pluralign.recipes.registry import (
    FACTS,
    about_method,
    facts_of,
    method_class,
    method_id,
    method_names,
    recipe,
    recipe_names,
)
from pluralign.recipes.scorer import give_judge, open_scorer
from pluralign.serving.settings import ServeSettings
from pluralign.storage import read_json

if TYPE_CHECKING:
    from pluralign.annotation.desk import Replies
    from pluralign.data.record import Record
    from pluralign.evaluation.report import Report
    from pluralign.export.check import Exported
    from pluralign.export.formats import Each, Format
    from pluralign.export.gguf_options import GgufKind
    from pluralign.export.ranks import RankKind
    from pluralign.policy import Policy

__all__ = [
    "FACTS", "CompareOptions", "Data", "TrainOptions", "about_method", "annotate", "base_model", "compare",
    "condition_of", "convert", "evaluate", "export", "facts_of", "forget", "load_data", "load_policy",
    "method_class", "method_id", "method_names", "recipe", "recipe_names", "replies_from", "sample", "score",
    "serve", "settings_of_run", "split", "train", "validate",
]  # fmt: skip


def load_policy(path: str | Path, device: str = "cpu", dtype: str = "float32") -> Policy:
    """A policy from its folder, or from the run folder that trained it."""
    from pluralign.policy import Policy

    inner = Path(path) / "policy"
    if not (inner / "policy.json").is_file() and (Path(path) / "reward").is_dir():
        raise ModelError(
            f"{path} trained a reward model, no policy; give it as --scorer to `pluralign score` or `train`"
        )
    if not (inner / "policy.json").is_file() and (Path(path) / "run.json").is_file():
        raise RunError(f"the run in {path} is not finished; continue it with --resume")
    found = Policy.load(inner if (inner / "policy.json").is_file() else path, device=device, dtype=dtype)
    return give_judge(found)


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
    max_new_tokens: int | None = None,
) -> list[list[str]]:
    """`num` replies to each prompt under one condition: a list of texts per prompt.

    `max_new_tokens` None is 128, or half of what the policy can read where that is less.
    """
    from pluralign.data.record import Record, user
    from pluralign.sampling.local import Decoding, complete

    condition = condition_of(steer)
    records = [Record(user(prompt)) for prompt in prompts]
    how = Decoding(temperature, top_p, _room(policy) if max_new_tokens is None else max_new_tokens)
    drawn = complete(policy, records, [condition] * len(records), num, seed, how)
    return [[completion.text for completion in replies] for replies in drawn]


def _room(policy: Policy) -> int:
    """128 new tokens, or half of what the policy can read where that is less."""
    from pluralign.sampling.engine import context

    return max(1, min(128, min(policy.encoder.max_length or 256, context(policy) or 256) // 2))


def replies_from(
    model: str | Path, steer: str | Condition | None = None, *, num: int = 2, seed: int = 0, temperature: float = 1.0
) -> Replies:
    """Replies for prompts that have none, `num` different ones each, from a run, a policy folder or a base model.

    The model is loaded when the first is needed. For `annotate`.
    """
    from pluralign.annotation.desk import Replies

    def fill(records: Iterable[Record]) -> Iterator[Record]:
        from pluralign.sampling import missing
        from pluralign.sampling.local import Decoding

        policy = _any_policy(model)
        decoding = Decoding(temperature, max_new_tokens=_room(policy))
        return missing.fill(policy, records, num, condition_of(steer), seed, decoding)

    asked = "" if steer is None else f" under {condition_of(steer)}"
    return Replies(f"{model}{asked}, {num} each, seed {seed}, temperature {temperature:g}", fill)


def _any_policy(model: str | Path) -> Policy:
    from pluralign.policy import Policy
    from pluralign.sampling.engine import context
    from pluralign.steering.none import NoSteering

    if any((Path(model) / name).is_file() for name in ("policy.json", "policy/policy.json", "run.json")):
        return load_policy(model)
    policy = Policy.from_base(base_model(str(model)), NoSteering(shared_where=None), ())
    policy.encoder.max_length = context(policy)
    return policy


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


def score(source: str | Path, out: str | Path, scorer: str = "lab", device: str = "cpu") -> int:
    """Score a file of records and write it; returns how many. `scorer`: see `recipes.scorer.open_scorer`."""
    from pluralign.data import jsonl
    from pluralign.data.readers.registry import read

    found = open_scorer(scorer, device)
    dataset = read(source)
    kept = [objective for objective in dataset.objectives if objective.name not in {o.name for o in found.objectives}]
    objectives = [*kept, *found.objectives]
    return jsonl.write(out, found.score(dataset.records()), objectives, dataset.licence, dataset.source)


def export(
    policy: Policy,
    out: str | Path,
    steer: str | Condition | None = None,
    format: Format = "merged",
    report: str | Path | None = None,
    *,
    presets: str | Path | None = None,
    each: Each | None = None,
    rank: RankKind | None = None,
    gguf: GgufKind = "none",
    check: bool = True,
) -> Exported:
    """Write the policy for programs that know nothing of conditions; loaded again and compared (`check`).

    `format`: "merged" (a whole model at one condition), "lora" (a peft adapter at one), "adapters" (one per objective,
    and per preset of a file), "presets" (`each` preset "merged" or a "lora"). `rank` "legal" or "natural", `gguf` "f32"
    or "f16" beside. Raises ModelError, ConditionError, ConfigError, DataError, StorageError.
    """
    from pluralign.export.formats import export_as

    content = None if report is None else read_json(report)
    how: dict[str, Any] = {"presets": presets, "each": each, "rank": rank, "gguf": gguf, "check": check}
    return export_as(format, policy, out, condition_of(steer), report=content, **how)


def serve(
    runs: Sequence[str | Path],
    settings: ServeSettings | None = None,
    *,
    allow_extrapolation: bool = False,
    ready: Callable[[str, list[str]], None] = lambda address, names: None,
) -> None:
    """Answer requests in the manner of OpenAI's API until SIGTERM or Ctrl-C comes (docs/serve.md).

    `runs`: run folders or policy folders, each as NAME=FOLDER where its folder's name is not the model's. `ready` is told
    the address and the models' names. Raises MissingExtraError, ConfigError, ModelError, ConditionError, DataError.
    """
    from pluralign.serving.extra import need_extra
    from pluralign.serving.names import named

    need_extra()
    folders, how = named(runs), settings or ServeSettings()
    from pluralign.serving import server

    with server.listen(how) as port:  # before anything is loaded: a port that is taken is known at once
        policies = {name: load_policy(folder, how.device) for name, folder in folders.items()}
        for policy in policies.values():
            if allow_extrapolation:
                policy.bounds = replace(policy.bounds, allow_extrapolation=True)
        presets = Presets() if how.presets is None else _presets(how.presets, list(policies.values()))
        server.serve(policies, presets, how, port, lambda address: ready(address, list(policies)))


def _presets(path: Path, policies: Sequence[Policy]) -> Presets:
    """Presets that name objectives of these policies; several policies may have bounds of their own, looked at later."""
    if len(policies) == 1:
        return Presets.read(path, policies[0].objectives, policies[0].bounds)
    objectives = {objective.name: objective for policy in policies for objective in policy.objectives}
    return Presets.read(path, tuple(objectives.values()), Bounds(allow_extrapolation=True))

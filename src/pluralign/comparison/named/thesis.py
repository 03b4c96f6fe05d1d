"""The CMPO thesis' own comparison: SFT, DPO per attribute, SteerLM and CMPO (Manyika 2024; methods.md A1, E1, E1b, E3).

What is measured stands in `ABOUT`, which the page prints. Differs from the thesis: 1. the judge of win rates is the
scorer, which compares scores; the thesis asks a language model; 2. the model after the fine-tuning's last step is taken,
not the one of the best validation loss; 3. pairs of preference data are taken as they are: the thesis keeps those whose
replies differ in their safety label.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pluralign.comparison import kept_cells
from pluralign.comparison.compare import Comparison, Row
from pluralign.comparison.entry import Entry, made
from pluralign.comparison.ground import BASE
from pluralign.comparison.named import start as begin
from pluralign.comparison.named import thesis_tables
from pluralign.comparison.named.measures import win_rate
from pluralign.comparison.options import CompareOptions
from pluralign.data.objective import Objective, names
from pluralign.errors import DataError
from pluralign.recipes.registry import recipe

if TYPE_CHECKING:
    from pluralign.data.condition import Condition
    from pluralign.data.record import Record
    from pluralign.policy import Policy

NAN = float("nan")
log = logging.getLogger("pluralign")
Measures = dict[str, dict[str, Any]]
ABOUT = """SFT is the start itself. DPO (cDPO, a model per attribute) and CMPO go on from it; SteerLM starts from the base, as in
the thesis. Each is asked for one attribute alone: CMPO by weight 1, SteerLM by the best score on it and the worst on all
others, DPO by its model of it. Numbers are means of the seeds; brackets are 95 % intervals over prompts."""


def entries(options: CompareOptions, by_wins: bool = False) -> list[Entry]:
    """DPO per attribute with the thesis' loss and optimisation, SteerLM asked in the thesis' way, and CMPO."""
    from dataclasses import replace

    cmpo: Any = recipe("cmpo", "thesis")
    dpo: Any = recipe("dpo")
    cut = options.max_steps
    asked: dict[str, Any] = {"model": options.model, "extremes": True, "by_wins": by_wins}
    return [
        made("DPO per attribute", "dpo", lambda: replace(dpo, loss=cmpo.loss, optim=cmpo.optim), cut),
        made("SteerLM", "steerlm", lambda: recipe("steerlm", "thesis"), cut, **asked),
        made("CMPO", "cmpo", lambda: cmpo, cut),
    ]


def compared(options: CompareOptions, command: str, title: str, by_wins: bool = False) -> dict[str, Any]:
    """Train, measure, and write the page with its picture; the numbers by row and attribute.

    `by_wins`: SteerLM is given ratings that are made from comparisons.
    """
    greedy: dict[str, Any] = {"temperature": 0.0, "one_hot_each": 1, "other_each": 1, "weights": "one-hots"}
    begun = begin.start(options, **greedy)
    if begun.sft is None:
        raise DataError("the data has no replies to fine-tune on and to compare; give replies", path=begun.ground.data)
    rivals = begin.comparison(options, begun, entries(options, by_wins))
    objectives = begun.ground.evaluation(options.work / "start", 0).objectives
    start = [begun.sft] * len(objectives)
    found = {"SFT": _likelihoods(start, begun.held_out, objectives, extremes=False)}
    if not any(by["num_pairs"] for by in found["SFT"].values()):
        raise DataError(
            "no held-out prompt has two replies that people compared, or scored differently; give more data",
            path=begun.ground.data,
        )
    rows = rivals.rows()
    for key in dict.fromkeys(row["key"] for row in begin.done(rows)):
        own = [row for row in begin.done(rows) if row["key"] == key]
        found[own[0]["title"]] = _mean([_measured(rivals, row, begun.held_out, objectives) for row in own])
    lines = [
        *thesis_tables.likelihoods(found, names(objectives)),
        *thesis_tables.wins(options.page, found, names(objectives)),
    ]
    return begin.NamedPage(title, ABOUT, lines, found).write(options, command, begun, rows)


def _measured(rivals: Comparison, row: Row, records: Sequence[Record], objectives: Sequence[Objective]) -> Measures:
    """Everything about one row of one seed, by attribute."""
    policies = begin.policies(rivals, row, names(objectives))
    each = policies if len(policies) > 1 else policies * len(objectives)
    found = _likelihoods(each, records, objectives, row["title"] == "SteerLM")
    cells = kept_cells.read(rivals.folder(row["seed"], row["key"]) / "cells.json.gz")
    base = kept_cells.read(rivals.folder(row["seed"]) / BASE)
    for k, objective in enumerate(objectives):
        asked = np.eye(len(objectives))[k]
        ours, theirs = (side[place] for side in (cells, base) if (place := kept_cells.place(side, asked)) is not None)
        sign = 1.0 if objective.direction == "higher" else -1.0
        rate = win_rate(sign * ours.scores[:, k], sign * theirs.scores[:, k], ours.prompts)
        found[objective.name] |= rate
    return found


def _likelihoods(
    policies: Sequence[Policy], records: Sequence[Record], objectives: Sequence[Objective], extremes: bool
) -> Measures:
    """Accuracies and correlation of the policy of each objective, asked for it."""
    from pluralign.comparison.row import extremes as ends
    from pluralign.evaluation.sampled import question

    found: Measures = {}
    for k, (policy, objective) in enumerate(zip(policies, objectives, strict=True)):
        alone = np.eye(len(policy.objectives))[k if len(policy.objectives) > 1 else 0]
        condition = (ends if extremes else question)(policy, alone)
        found[objective.name] = {
            **_accuracies(policy, records, objective, condition),
            **_correlation(policy, records, objective, condition),
        }
    return found


def _accuracies(
    policy: Policy, records: Sequence[Record], objective: Objective, asked: Condition | None
) -> dict[str, Any]:
    """Shares of pairs, NaN where the held-out records have no pair on the objective."""
    from pluralign.evaluation.accuracy import accuracy_table
    from pluralign.evaluation.preferences import judged

    shares = ("likelihood", "implicit_reward", "per_token", "length_only")
    try:
        (row,) = accuracy_table(judged(policy, records, [objective], {objective.name: asked}))
    except DataError as error:
        log.warning("%s: %s", objective.name, error)
        return {**dict.fromkeys(shares, NAN), "num_pairs": 0, "likelihood_interval": [NAN] * 2}
    intervals: Any = row["intervals"]
    return {
        **{name: row[name] for name in (*shares, "num_pairs")},
        "likelihood_interval": intervals["likelihood"] or [NAN] * 2,
    }


def _correlation(
    policy: Policy, records: Sequence[Record], objective: Objective, asked: Condition | None
) -> dict[str, float]:
    """Correlation of log π(y|x, asked) with the score, within a prompt: Kendall's tau-b, per token too, and Spearman's."""
    from pluralign.data.evidence import aggregate
    from pluralign.evaluation.accuracy import preference_correlation

    found = []
    for number, record in enumerate(records):
        for reply in record.responses:
            score = aggregate(reply).get(objective.name)
            pair = policy.encoder.pair(policy.steering.write(record.messages, asked), reply.text)
            if score is not None and pair is not None:
                found.append((record.messages, reply.text, score, f"{number}", len(pair[1])))
    if not found:
        return dict.fromkeys(("kendall", "kendall_per_token", "spearman"), NAN)
    prompts, texts, scores, places, lengths = zip(*found, strict=True)
    logprobs = policy.logprobs(prompts, texts, [asked] * len(texts)).double().cpu().numpy()
    sign = 1.0 if objective.direction == "higher" else -1.0
    values = sign * np.array(scores, dtype=np.float64)
    whole, per_token = (
        preference_correlation(each, values, places) for each in (logprobs, logprobs / np.array(lengths))
    )
    return {
        "kendall": whole["kendall"], "kendall_per_token": per_token["kendall"], "spearman": whole["spearman"],
    }  # fmt: skip


def _mean(seeds: Sequence[Measures]) -> Measures:
    """Over the seeds, of intervals too."""
    return {
        name: {key: np.mean([each[name][key] for each in seeds], axis=0).tolist() for key in row}
        for name, row in seeds[0].items()
    }

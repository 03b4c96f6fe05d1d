"""The CMPO thesis' own comparison: SFT, DPO per attribute, SteerLM and CMPO (Manyika 2024; methods.md A1, E1, E1b, E3).

Per attribute, on held-out prompts: accuracy, the share of pairs whose preferred reply is likelier when the attribute is
asked for (E1, strict; and of the implicit reward); correlation of log-probabilities and scores within a prompt (E1b,
Kendall's tau-b); win rate against the model that a row started from, with ties (E3: +1, 0, −1), as a radar plot. DPO,
SteerLM and CMPO are compared with SFT; SteerLM, which the thesis trains on the base, too. Greedy replies, as there. The
judge of win rates is the scorer; the thesis asks a language model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pluralign.comparison import kept_cells
from pluralign.comparison.compare import Comparison, Row
from pluralign.comparison.entry import Entry, made
from pluralign.comparison.ground import BASE
from pluralign.comparison.named import start as begin
from pluralign.comparison.named.measures import radar, win_rate
from pluralign.comparison.options import CompareOptions
from pluralign.data.objective import Objective, names
from pluralign.recipes.registry import recipe
from pluralign.storage import atomic_write

if TYPE_CHECKING:
    from pluralign.data.condition import Condition
    from pluralign.data.record import Record
    from pluralign.policy import Policy

Floats = NDArray[np.float64]
Measures = dict[str, dict[str, Any]]


def entries(options: CompareOptions) -> list[Entry]:
    """DPO per attribute with the thesis' loss and optimisation, SteerLM asked in the thesis' way, and CMPO."""
    from dataclasses import replace

    cmpo: Any = recipe("cmpo", "thesis")
    dpo: Any = recipe("dpo")
    cut = options.max_steps
    return [
        made("DPO per attribute", "dpo", lambda: replace(dpo, loss=cmpo.loss, optim=cmpo.optim), cut),
        made("SteerLM", "steerlm", lambda: recipe("steerlm", "thesis"), cut, model=options.model, extremes=True),
        made("CMPO", "cmpo", lambda: cmpo, cut),
    ]


def compared(options: CompareOptions, command: str, title: str, convert: Any = lambda path: None) -> dict[str, Any]:
    """Train, measure, and write the page with its radar plot; the numbers by row and attribute."""
    begun = begin.start(options, convert)
    rivals = begin.comparison(options, begun, entries(options), temperature=0.0)
    rows = rivals.rows()
    records, objectives = begun.records()
    found = {"SFT": _mean([_likelihoods([begun.sft] * len(objectives), records, objectives, extremes=False)])}
    for key in dict.fromkeys(row["key"] for row in begin.done(rows)):
        own = [row for row in rows if row["key"] == key and row in begin.done(rows)]
        found[own[0]["title"]] = _mean([_measured(rivals, row, records, objectives) for row in own])
    lines = [__doc__ or "", *_tables(found, objectives)]
    rates = {title: {name: each["win"] for name, each in by.items() if "win" in each} for title, by in found.items()}
    rates = {title: by for title, by in rates.items() if by}
    if rates:
        picture = options.page.with_suffix(".png")
        atomic_write(picture, radar(rates, names(objectives)))
        lines += [f"![win rates]({picture.name})", ""]
    return begin.written(options, title, command, [*lines, *begin.failures(rows)], found)


def _measured(made: Comparison, row: Row, records: Sequence[Record], objectives: Sequence[Objective]) -> Measures:
    """Everything about one row of one seed, by attribute."""
    policies = begin.policies(made, row, names(objectives))
    each = policies if len(policies) > 1 else policies * len(objectives)
    found = _likelihoods(each, records, objectives, row["title"] == "SteerLM")
    cells = kept_cells.read(made.folder(row["seed"], row["key"]) / "cells.json.gz")
    base = kept_cells.read(made.folder(row["seed"]) / BASE)
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
    from pluralign.evaluation.accuracy import accuracy_table
    from pluralign.evaluation.preferences import judged
    from pluralign.evaluation.sampled import question

    found: Measures = {}
    for k, (policy, objective) in enumerate(zip(policies, objectives, strict=True)):
        alone = np.eye(len(policy.objectives))[k if len(policy.objectives) > 1 else 0]
        condition = (ends if extremes else question)(policy, alone)
        (row,) = accuracy_table(judged(policy, records, [objective], {objective.name: condition}))
        found[objective.name] = {
            **{name: row[name] for name in ("likelihood", "implicit_reward", "per_token", "length_only")},
            **_correlation(policy, records, objective, condition),
        }
    return found


def _correlation(
    policy: Policy, records: Sequence[Record], objective: Objective, asked: Condition | None
) -> dict[str, float]:
    """Kendall's tau-b of log π(y|x, asked) with the score, within a prompt, as it is and per token."""
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
        return {"kendall": float("nan"), "kendall_per_token": float("nan")}
    prompts, texts, scores, places, lengths = zip(*found, strict=True)
    logprobs = policy.logprobs(prompts, texts, [asked] * len(texts)).double().cpu().numpy()
    sign = 1.0 if objective.direction == "higher" else -1.0
    values = sign * np.array(scores, dtype=np.float64)
    whole, per_token = (
        preference_correlation(each, values, places) for each in (logprobs, logprobs / np.array(lengths))
    )
    return {"kendall": whole["kendall"], "kendall_per_token": per_token["kendall"]}


def _mean(seeds: Sequence[Measures]) -> Measures:
    """Over the seeds; intervals are those of the first."""
    first = seeds[0]
    return {
        name: {
            key: float(np.mean([each[name][key] for each in seeds])) if isinstance(value, float) else value
            for key, value in row.items()
        }
        for name, row in first.items()
    }


TITLES = {
    "likelihood": "Preference accuracy (E1)",
    "implicit_reward": "Accuracy of the implicit reward",
    "kendall": "Correlation with the scores (E1b, Kendall)",
    "win": "Win rate less loss rate against the start (E3)",
    "ties": "Ties",
}


def _tables(found: Mapping[str, Measures], objectives: Sequence[Objective]) -> list[str]:
    """A table per measure: rows by attributes."""
    lines: list[str] = []
    for key, title in TITLES.items():
        rows = [[row, *(by[name].get(key) for name in names(objectives))] for row, by in found.items()]
        if key == "likelihood":
            rows.append(["*length alone*", *(found["SFT"][name]["length_only"] for name in names(objectives))])
        lines += [f"## {title}", "", *begin.table(["", *names(objectives)], rows)]
    return lines

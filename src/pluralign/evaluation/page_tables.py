"""The tables of the page: the card, the cross matrix, preference accuracy, all weights, and how it was measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from pluralign.data.objective import Objective
from pluralign.evaluation import charts
from pluralign.evaluation.card import Card
from pluralign.evaluation.rows import KEYS
from pluralign.evaluation.summary import LABELS, LOWER_IS_BETTER, NEITHER, number, of_key

if TYPE_CHECKING:
    from pluralign.evaluation.report import Report


def _table(kind: str, head: Sequence[str], rows: Sequence[str]) -> str:
    cells = "".join(f"<th>{words}</th>" for words in head)
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


COLUMNS = {"base": "base", "optimum": "optimum,<br>β = .25", "optimum_conservative": "optimum,<br>β = .5"}


def card(card: Card) -> str:
    """Ten numbers: the policy with its interval, and the base and the optimum beside it."""
    others = [name for name in card.rows if name != "policy" and card.rows[name].values["gain_mean"] is not None]
    head = ["", "this policy", "95 % interval", *(COLUMNS[name] for name in others)]
    rows = "".join(_card_row(card, key, others) for key in KEYS)
    missing = {words for key in KEYS for words in [card.policy.reasons.get(key)] if words}
    why = "".join(f'<p class="note">– : {escape(words)}.</p>' for words in sorted(missing))
    return f"<section><h2>The card</h2>{_table('card', head, [rows])}{why}</section>"


def _card_row(card: Card, key: str, others: Sequence[str]) -> str:
    label, unit, meaning = LABELS[key]
    pair = card.policy.intervals.get(key)
    ends = "" if pair is None else f"{of_key(key, pair[0])} … {of_key(key, pair[1])}"
    better = "" if key in NEITHER else " ↓" if key in LOWER_IS_BETTER else " ↑"
    cells = "".join(f"<td>{of_key(key, card.rows[name].values[key])}</td>" for name in others)
    return (
        f"<tr><th><b>{escape(label)}{better}</b><small>{escape(meaning)}{f' · {unit}' if unit else ''}</small></th>"
        f'<td class="own">{of_key(key, card.policy.values[key])}</td><td class="ends">{ends}</td>{cells}</tr>'
    )


def preferences(rows: Sequence[Mapping[str, Any]]) -> str:
    """Accuracy per objective beside what length alone would give."""
    keys = ("likelihood", "implicit_reward", "per_token", "reference", "length_only")
    head = ["", "pairs", *(key.replace("_", " ") for key in keys)]
    body = []
    for row in rows:
        shares = "".join(f"<td>{number(row[key])}{_ends(row['intervals'].get(key))}</td>" for key in keys)
        body.append(f"<tr><th>{escape(row['objective'])}</th><td>{row['num_pairs']}</td>{shares}</tr>")
    return (
        '<section><h2>Preference accuracy</h2><p class="note">Share of held-out pairs in which the preferred response '
        "is likelier when its objective is asked for. A policy has learnt something only where it beats length alone: "
        "always preferring the longer, or the shorter, whichever is right more often.</p>"
        f"{_table('plain', head, body)}</section>"
    )


def _ends(pair: Any) -> str:
    return "" if pair is None else f"<small>{number(pair[0])} … {number(pair[1])}</small>"


def cross(matrix: Mapping[str, Any], objectives: Sequence[Objective]) -> str:
    """Heat maps: score on every objective (columns) when one is asked for (rows), and the optimum's beside it."""
    maps = [_heat_map(matrix, matrix["scores"], objectives, "this policy")]
    if "optimum" in matrix:
        maps.append(_heat_map(matrix, matrix["optimum"], objectives, "exact optimum, β = .25"))
    said = f" Selectivity {number(matrix['selectivity'])}: the diagonal's mean lead, in deviations of its column."
    return (
        "<section><h2>Who moves with whom</h2>"
        '<p class="note">Mean score on every objective (columns) when one is asked for alone (rows), and below it the '
        "change from the base. The diagonal should lead its column; it does for "
        f"{matrix['num_right']} of {len(objectives)}.{said if matrix['selectivity'] is not None else ''}</p>"
        f'<div class="maps">{"".join(maps)}</div></section>'
    )


def _heat_map(matrix: Mapping[str, Any], scores: Any, objectives: Sequence[Objective], caption: str) -> str:
    names = [name_of(objective.name, place) for place, objective in enumerate(objectives)]
    rows = [
        f"<tr><th>{names[row]}</th>{''.join(_heat(score, matrix['base'][j], objectives[j], row == j) for j, score in enumerate(line))}</tr>"
        for row, line in enumerate(scores)
    ]
    base = "".join(f"<td>{number(score)}</td>" for score in matrix["base"])
    rows.append(f'<tr class="foot"><th>base</th>{base}</tr>')
    return f"<figure><figcaption>{escape(caption)}</figcaption>{_table('cross', ['', *names], rows)}</figure>"


def _heat(score: float | None, base: float | None, objective: Objective, diagonal: bool) -> str:
    gain = None if score is None or base is None else score - base
    share = 0.0 if gain is None else max(-1.0, min(1.0, gain / (0.65 * (objective.high - objective.low))))
    tint = f"color-mix(in oklab, var(--{'more' if share >= 0 else 'less'}) {abs(55 * share):.0f}%, var(--panel))"
    kind = ' class="diagonal"' if diagonal else ""
    return f'<td{kind} style="background:{tint}"><b>{number(score)}</b><small>{number(gain, sign=True)}</small></td>'


def name_of(name: str, place: int) -> str:
    """An objective's name in its colour."""
    return f'<span class="name" style="--hue:{charts.hue(place)}">{escape(name)}</span>'


def weights(rows: Sequence[Mapping[str, Any]], objectives: Sequence[Objective]) -> str:
    """Every weight of the grid, folded away."""
    details = ("utility_gain", "fluency", "kl", "length", "repetition", "distinct_2", "truncated")
    titles = ("utility gain", "fluency", "KL", "length", "repetition", "distinct-2", "cut off")
    head = ["weights", "replies", *(escape(objective.name) for objective in objectives), *titles]
    body = []
    for row in rows:
        asked = asked_words(row["weights"], len(objectives))
        scores = "".join(f"<td>{number(row['scores'][objective.name])}</td>" for objective in objectives)
        rest = "".join(f"<td>{number(row[key], 1 if key == 'length' else 2)}</td>" for key in details)
        body.append(f"<tr><th>{escape(asked)}</th><td>{row['num_replies']}</td>{scores}{rest}</tr>")
    return (
        f"<section><details><summary>All {len(rows)} weights</summary>{_table('plain narrow', head, body)}"
        "</details></section>"
    )


def asked_words(weights: Mapping[str, float], size: int) -> str:
    """Weights in few words: only one, all equally, or each with its share."""
    if len(weights) == 1 and 1.0 in weights.values():
        return f"only {next(iter(weights))}"
    if len(weights) == size and np.ptp(list(weights.values())) < 1e-9:
        return "all equally"
    return " · ".join(f"{name} {number(value)}" for name, value in weights.items())


DEFINITIONS = (
    ("Grid", "All one-hots, equal weights, every pair at .5/.5, and ten fixed random draws; every weight is answered by many sampled replies."),
    ("Gain", "Mean score on an objective when only it is asked for, less the base's mean score."),
    ("Spearman", "Rank correlation, over the grid, of an objective's weight with its mean score. It saturates below 1 even for the optimum, because objectives conflict; compare it with the optimum's."),
    ("Utility gain", "λ·(s − s_base), mean over the grid: what the asked-for mixture is worth over the base."),
    ("Hypervolume", "Share of the box of all scores, in thousandths, that the mean score vectors dominate from its lowest corner. Each objective is scaled to its own range."),
    ("Distance (KL)", "Mean of log π(y|x, λ) − log π_base(y|x) over the policy's own replies, in nats per reply."),
    ("Optimum", "π*(y|x) ∝ π_base(y|x)·exp(λ·s/β): the best possible policy at that price of distance, computed, not trained. β = .25 is bold, β = .5 stays nearer the base."),
    ("Efficiency", "Utility gain over the optimum's utility gain at the same distance. The price-free number."),
    ("Regret", "The optimum's value at β = .25 less the policy's: λ·s − .25·KL, mean over the grid."),
    ("Base row", "The unsteered base, sampled anew for every weight as if it had been asked: what chance alone gives."),
    ("Intervals", "95 %, by resampling prompts, the same prompts for policy and base; moved so that their median is the estimate. The optimum's rows are computed and have none; they are taken as exact."),
)  # fmt: skip


def method(report: Report) -> str:
    """Definitions, then everything that `about` says."""
    words = "".join(f"<dt>{escape(term)}</dt><dd>{escape(meaning)}</dd>" for term, meaning in DEFINITIONS)
    about = "".join(
        f"<dt>{escape(str(key).replace('_', ' '))}</dt><dd>{escape(_shown(value))}</dd>"
        for key, value in report.about.items()
    )
    ranges = "; ".join(
        f"{item.name} {charts.tick(item.low)} to {charts.tick(item.high)}{_turned(item)}" for item in report.objectives
    )
    return (
        f"<section><h2>How it was measured</h2><dl><dt>objectives</dt><dd>{escape(ranges)}</dd>{about}</dl>"
        f"<h3>Definitions</h3><dl>{words}</dl></section>"
    )


def _turned(objective: Objective) -> str:
    return ", turned so that more is better" if objective.direction == "lower" else ""


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

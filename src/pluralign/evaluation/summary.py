"""The report in a few plain sentences, and its numbers as people write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pluralign.evaluation.card import Card

LABELS = {
    "gain_mean": ("Gain, mean", "points", "how far a score rises over the base when only it is asked for"),
    "gain_min": ("Gain, least", "points", "the same for the objective that obeys least"),
    "spearman_mean": ("Spearman", "", "rank correlation of an objective's weight with its score over the grid"),
    "utility_gain": ("Utility gain", "points", "weighted score over the base's, mean over the grid"),
    "hypervolume": ("Hypervolume", "‰", "share of the box of scores that the mean scores dominate"),
    "fluency_mean": ("Fluency, mean", "", "share of well-formed replies, mean over weights"),
    "fluency_min": ("Fluency, least", "", "the same under the hardest weight"),
    "kl_mean": ("Distance (KL)", "nats", "log-ratio to the base per reply, on the policy's own samples"),
    "efficiency": ("Efficiency", "", "utility gain over the optimum's at the same distance"),
    "regret": ("Regret", "points", "value lost against the optimum at β = .25"),
}
LOWER_IS_BETTER = ("regret",)
NEITHER = ("kl_mean",)
ROW_NAMES = {
    "policy": "this policy", "base": "base", "optimum": "optimum .25", "optimum_conservative": "opt. .5",
}  # fmt: skip


def number(value: Any, places: int = 2, sign: bool = False) -> str:
    """A number with a real minus sign; a dash for null."""
    if value is None:
        return "–"
    rounded = round(float(value), places) + 0.0
    return f"{rounded:{'+' if sign else ''}.{places}f}".replace("-", "−")


def of_key(key: str, value: Any) -> str:
    """A number of the card with the places it deserves."""
    return number(value, 1 if key == "hypervolume" else 2)


def percent(value: float) -> str:
    """A share in whole per cent, without claiming exactly 100 or 0 for what is not."""
    inside = 0 < value < 1
    whole = min(max(round(100 * value), 1), 99) if inside else round(100 * value)
    return f"{whole} %"


def sentences(card: Card) -> list[str]:
    """What a reader should know first. Empty where nothing was scored."""
    values = card.policy.values
    if values["gain_mean"] is None:
        return []
    return [
        *_gain(card.tables["per_objective"], values["gain_mean"]),
        *_efficiency(values),
        *_fluency(values),
        *_diagonal(card.tables["cross_matrix"]),
    ]


def _gain(table: Sequence[Mapping[str, Any]], mean: float) -> list[str]:
    ordered = sorted(table, key=lambda row: row["gain"])
    least, most = ordered[0], ordered[-1]
    verb = "rises" if mean >= 0 else "falls"
    start = f"Asked for one objective, the model's score on it {verb} by {number(abs(mean))} points on average"
    if len(ordered) == 1:
        return [start + "."]
    between = f"from {number(least['gain'], sign=True)} for {least['objective']}"
    return [f"{start}, {between} to {number(most['gain'], sign=True)} for {most['objective']}."]


def _efficiency(values: Mapping[str, float | None]) -> list[str]:
    efficiency, distance = values["efficiency"], values["kl_mean"]
    if efficiency is None or distance is None:
        return []
    return [
        f"Over all trade-offs it reaches {percent(efficiency)} of what the exact optimum gains "
        f"at the same distance from the base ({number(distance)} nats)."
    ]


def _fluency(values: Mapping[str, float | None]) -> list[str]:
    mean, least = values["fluency_mean"], values["fluency_min"]
    if mean is None or least is None:
        return []
    return [f"{percent(mean)} of its replies are well formed, {percent(least)} under the hardest weights."]


def _diagonal(cross: Mapping[str, Any]) -> list[str]:
    right, size = cross["num_right"], len(cross["objectives"])
    if size < 2:
        return []
    wrong = [name for name, good in zip(cross["objectives"], cross["diagonal_right"], strict=True) if not good]
    if not wrong:
        return ["Every objective scores highest when it is the one asked for."]
    return [f"{right} of {size} objectives score highest when they are the one asked for; not so {', '.join(wrong)}."]

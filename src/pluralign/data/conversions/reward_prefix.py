"""Reward prefix: the rewards of a reply, standardised, as numbers in its prompt: "<rm1_score> 0.7 <rm2_score> -1.2".

Rewards-in-Context (Yang et al. 2024, arXiv 2402.10207; methods.md A12): every reward gets mean 0 and standard deviation
1 (population) over the training set; one decimal; at inference a map turns weights into rewards to ask for.

Fixed where the paper is silent: rewards are signed so that more is better; a missing one is left out of the prefix.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pluralign.data.condition import Targets
from pluralign.data.evidence import Array, aggregate, direction_signs, score_row
from pluralign.data.group import Group
from pluralign.data.objective import Objective, names
from pluralign.data.record import Record, Response
from pluralign.errors import ConditionError, ConfigError, DataError

RULES = ("linf", "linear", "l2")
_TERM = re.compile(r"<rm(\d+)_score> (-?\d+\.\d)")


@dataclass(frozen=True, slots=True)
class RewardScale:
    """The statistics of a training set, one number per objective: `mean` and `deviation` of the signed scores, `low`
    and `high` ends of the standardised ones. Kept with what is trained, or its prefixes mean nothing."""

    objectives: tuple[Objective, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def standardised(self, response: Response) -> Array:
        """The rewards [K] of a reply; NaN where missing."""
        signed = score_row(response, self.objectives) * direction_signs(self.objectives)
        rewards: Array = (signed - np.array(self.mean)) / np.array(self.deviation)
        return rewards

    def asked(self, weights: Sequence[float], rule: str = "linf", one_decimal: bool = False) -> Array:
        """The rewards [K] to ask for under weights [K], in standardised units (the paper's eq. 6).

        The largest weight (the first of equals) asks for the high end; the others for low + f·(high - low) with
        f = min(K·λ, 1) ("linf"), λ ("linear", all of them) or λ/‖λ‖ ("l2", all of them). Raises ConfigError.
        """
        values = np.asarray(weights, dtype=np.float64)
        if rule not in RULES or values.shape != (len(self.objectives),) or not (values >= 0).all() or not values.any():
            raise ConfigError(
                f"rewards are asked for by {len(self.objectives)} weights from 0, not all 0, and a rule of "
                f"{', '.join(RULES)}; got {values.tolist()} and {rule!r}"
            )
        low, high = np.array(self.low), np.array(self.high)
        share = values / np.linalg.norm(values) if rule == "l2" else values
        if rule == "linf":
            share = np.minimum(len(values) * values, 1.0)
            share[int(values.argmax())] = 1.0
        rewards: Array = low + share * (high - low)
        return np.round(rewards, 1) if one_decimal else rewards


def fit(records: Iterable[Record], objectives: Sequence[Objective], tail: float = 0.0) -> RewardScale:
    """The statistics of all scored replies, one streamed pass (8 bytes are kept per score).

    `low` and `high` are the extremes, or the quantiles `tail` and 1 - tail, which models reach more often (.01 is
    usual). Raises DataError for an objective whose scores do not vary, ConfigError for a tail outside [0, .5).
    """
    if not 0 <= tail < 0.5:
        raise ConfigError(f"the tail is a share from 0 to below .5, got {tail}")
    flat = array("d")
    for record in records:
        for response in record.responses:
            flat.extend(score_row(response, objectives))
    columns = (np.frombuffer(flat, dtype=np.float64).reshape(-1, len(objectives)) * direction_signs(objectives)).T
    kept = [column[~np.isnan(column)] for column in columns]
    still = [
        name for name, scores in zip(names(objectives), kept, strict=True) if not scores.size or not np.ptp(scores)
    ]
    if still:
        raise DataError(f"{', '.join(still)}: the scores do not vary (or there are none); leave these objectives out")
    mean, deviation = [float(scores.mean()) for scores in kept], [float(scores.std()) for scores in kept]
    ends = [
        [(float(np.quantile(scores, end)) - m) / s for scores, m, s in zip(kept, mean, deviation, strict=True)]
        for end in (tail, 1 - tail)
    ]
    return RewardScale(tuple(objectives), tuple(mean), tuple(deviation), tuple(ends[0]), tuple(ends[1]))


def prefix(rewards: Sequence[float] | Array) -> str:
    """The text of standardised rewards [K], numbered from 1; NaN ones are left out."""
    # adding 0 turns -0.0 into 0.0
    terms = [f"<rm{n}_score> {round(float(r), 1) + 0:.1f}" for n, r in enumerate(rewards, start=1) if not np.isnan(r)]
    return " ".join(terms)


def parse(text: str) -> dict[int, float]:
    """The rewards of a prefix by their number (from 1). Raises ConditionError for anything else."""
    found = {int(number): float(value) for number, value in _TERM.findall(text)}
    if not found or prefix([found.get(n, np.nan) for n in range(1, max(found) + 1)]) != text:
        raise ConditionError(f"a reward prefix is written '<rm1_score> 0.7 <rm2_score> -1.2', got {text!r}")
    return found


def reward_prefixes(record: Record, scale: RewardScale) -> list[tuple[Group, str]]:
    """Each scored reply to be imitated under its own scores (Targets, in the objectives' units), with its prefix."""
    found = []
    for response in record.responses:
        scores = aggregate(response)
        own = {name: score for name in names(scale.objectives) if (score := scores.get(name)) is not None}
        if own:
            group = Group.of(record, [response], (Targets(own),))
            found.append((group, prefix(scale.standardised(response))))
    return found

"""The report card: an evaluation's samples in, every number with its interval and its yardsticks out.

Source: lab.md 'Definitions', §3 and §7; methods.md E and F. The optimum's rows are computed, not sampled, so they have
no intervals; its gains are taken over the yardstick's own base.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pluralign.errors import DataError
from pluralign.evaluation import tables
from pluralign.evaluation.means import Means, both
from pluralign.evaluation.rows import NO_YARDSTICK, Best, Measured, Row, row
from pluralign.evaluation.samples import Samples
from pluralign.evaluation.sweeps import Curves, sweeps
from pluralign.evaluation.utility import REGRET_BETA, GainCurve, Yardstick

Floats = NDArray[np.float64]
CONSERVATIVE_BETA = 0.5
BETAS = {"optimum": REGRET_BETA, "optimum_conservative": CONSERVATIVE_BETA}
ROWS = ("policy", "base", *BETAS)
TABLES: dict[str, type] = {
    "per_objective": list,
    "cross_matrix": dict,
    "per_weight": list,
    "sweeps": list,
    "front": dict,
}


@dataclass(frozen=True)
class Card:
    """Four rows of ten numbers by name (`ROWS`), and the tables behind them (`TABLES`; keys in docs/report.md)."""

    rows: Mapping[str, Row]
    tables: Mapping[str, Any]

    @property
    def policy(self) -> Row:
        """The policy's own row."""
        return self.rows["policy"]

    @classmethod
    def absent(cls, reason: str) -> Card:
        """A card without numbers, for data whose replies nobody can score."""
        return cls(dict.fromkeys(ROWS, Row.absent(reason)), {name: kind() for name, kind in TABLES.items()})

    def to_json(self) -> dict[str, Any]:
        """The policy's numbers at top level, the other rows and the tables under their names."""
        others = {name: self.rows[name].to_json() for name in ROWS[1:]}
        return {**self.policy.to_json(), **others, **self.tables}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Card:
        """The inverse of `to_json`; DataError names what is missing or of the wrong type."""
        for name, kind in TABLES.items():
            if not isinstance(value.get(name), kind):
                raise DataError(f"{name} must be a {kind.__name__}, got {type(value.get(name)).__name__}")
        rows = {name: Row.from_json(value if name == "policy" else value.get(name), name) for name in ROWS}
        return cls(rows, {name: value[name] for name in TABLES})


def report_card(samples: Samples, yardstick: Yardstick | None = None, resamples: int = 500, seed: int = 0) -> Card:
    """Compute the card of one evaluation.

    Intervals: 95 %, percentile, over `resamples` draws of the prompts (the same for policy and base). Without a
    yardstick the rows of the optimum, efficiency and regret are null, with the reason. About 4 s for the lab's grid.
    """
    estimate, replicates = both(samples, resamples, seed)
    best = _best(samples, yardstick) if yardstick else None
    optima = {name: _optimum(samples, yardstick, beta_r) for name, beta_r in BETAS.items()} if yardstick else {}
    curves: Curves = {name: _curve(yardstick, beta_r) for name, beta_r in BETAS.items()} if yardstick else {}
    rows = {
        "policy": _sampled(estimate, replicates, best, of_base=False),
        "base": _sampled(estimate, replicates, best, of_base=True),
        **{name: _computed(optima.get(name), samples, best) for name in BETAS},
    }
    return Card(rows, _tables(estimate, replicates, optima, curves))


def _sampled(estimate: Means, replicates: Means | None, best: Best | None, of_base: bool) -> Row:
    drawn = replicates.measured(of_base) if replicates else None
    reasons = {"efficiency": "the base has no distance from itself"} if of_base else {}
    return row(estimate.measured(of_base), drawn, estimate.samples.objectives, best, reasons)


def _computed(optimum: Measured | None, samples: Samples, best: Best | None) -> Row:
    return row(optimum, None, samples.objectives, best) if optimum else Row.absent(NO_YARDSTICK)


def _tables(estimate: Means, replicates: Means | None, optima: dict[str, Measured], curves: Curves) -> dict[str, Any]:
    return {
        "per_objective": tables.per_objective(estimate, replicates, optima),
        "cross_matrix": tables.cross(estimate, optima),
        "per_weight": tables.per_weight(estimate, replicates, optima),
        "sweeps": sweeps(estimate, replicates, curves),
        "front": tables.front_table(estimate, optima),
    }


def _best(samples: Samples, yardstick: Yardstick) -> Best:
    value = yardstick.optimum(samples.weights, REGRET_BETA).value
    return Best(GainCurve.of(yardstick, samples.weights), np.asarray(value))


def _optimum(samples: Samples, yardstick: Yardstick, beta_r: float) -> Measured:
    """The optimum on the grid as a policy of one replicate."""
    found = yardstick.optimum(samples.weights, beta_r)
    return Measured(samples.weights, found.scores[None], yardstick.base[None], found.fluency[None], found.kl[None])


def _curve(yardstick: Yardstick, beta_r: float) -> Callable[[Floats], Floats]:
    return lambda weights: yardstick.optimum(weights, beta_r).scores

"""One row of the report card: ten numbers, their intervals, and a reason for each number that does not exist."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pluralign.data.objective import Objective, names
from pluralign.errors import DataError
from pluralign.evaluation import steerability, utility
from pluralign.evaluation.bootstrap import centred_interval
from pluralign.evaluation.hypervolume import hypervolume_share

Floats = NDArray[np.float64]
KEYS = (
    "gain_mean", "gain_min", "spearman_mean", "utility_gain", "hypervolume",
    "fluency_mean", "fluency_min", "kl_mean", "efficiency", "regret",
)  # fmt: skip
# Few places per replicate: their error (2 to 3 %) is small beside the spread that they measure.
REPLICATE_SAMPLES = 2500
BOUNDS = {
    "spearman_mean": (-1.0, 1.0),
    "hypervolume": (0.0, 1000.0),
    "fluency_mean": (0.0, 1.0),
    "fluency_min": (0.0, 1.0),
}
NO_YARDSTICK = "the exact optimum is known only in the lab"


def plain(value: Any) -> Any:
    """The same value as JSON knows it: numpy arrays to lists, NaN and infinity to null."""
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


@dataclass(frozen=True)
class Row:
    """Ten numbers by name (`KEYS`). A missing one is None and has a reason; an interval is None where none exists."""

    values: Mapping[str, float | None]
    intervals: Mapping[str, tuple[float, float] | None] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def absent(cls, reason: str) -> Row:
        """A row without any number."""
        return cls(dict.fromkeys(KEYS), dict.fromkeys(KEYS), dict.fromkeys(KEYS, reason))

    def to_json(self) -> dict[str, Any]:
        """The numbers by name, with `intervals` and `reasons` beside them."""
        intervals = {key: None if pair is None else list(pair) for key, pair in self.intervals.items()}
        return {**self.values, "intervals": intervals, "reasons": dict(self.reasons)}

    @classmethod
    def from_json(cls, value: Any, where: str) -> Row:
        """The inverse of `to_json`; DataError names the key that is missing or no number."""
        if not isinstance(value, Mapping):
            raise DataError(f"{where}: a row is an object with {', '.join(KEYS)}, got {value!r}")
        for key in KEYS:
            number = value.get(key, "nothing")
            if isinstance(number, bool) or not isinstance(number, int | float | None):
                raise DataError(f"{where}: {key} must be a number or null, got {number!r}")
        intervals, reasons = value.get("intervals"), value.get("reasons")
        if not isinstance(intervals, Mapping) or not isinstance(reasons, Mapping):
            raise DataError(f"{where}: intervals and reasons must be objects")
        pairs = {key: _read_pair(pair, f"{where}: intervals.{key}") for key, pair in intervals.items()}
        return cls({key: value[key] for key in KEYS}, pairs, dict(reasons))


def _read_pair(pair: Any, where: str) -> tuple[float, float] | None:
    if pair is None:
        return None
    if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(end, int | float) for end in pair):
        raise DataError(f"{where} must be null or [low, high], got {pair!r}")
    return float(pair[0]), float(pair[1])


@dataclass(frozen=True)
class Measured:
    """Means of one policy over a grid, with a leading axis of replicates: weights [G, K], scores [B, G, K] (more is
    better), base [B, K], fluency and kl [B, G]."""

    weights: Floats
    scores: Floats
    base: Floats
    fluency: Floats
    kl: Floats


@dataclass(frozen=True)
class Best:
    """What the exact optimum gives on the grid: its gain at each KL, and V* at β_r = .25 [G]."""

    curve: utility.GainCurve
    value: Floats


def numbers(measured: Measured, objectives: Sequence[Objective], best: Best | None) -> dict[str, Floats]:
    """The ten numbers, each [B]; NaN where undefined. lab.md 'Definitions'."""
    weights, scores, kl = measured.weights, measured.scores, measured.kl.mean(axis=1)
    gains = steerability.gains(weights, scores, measured.base)
    gain = utility.utility_gain(weights, scores, measured.base)
    nothing = np.full(len(scores), np.nan)
    found = {
        "gain_mean": gains.mean(axis=1),
        "gain_min": gains.min(axis=1),
        "spearman_mean": steerability.spearman(weights, scores).mean(axis=1),
        "utility_gain": gain,
        "hypervolume": _hypervolumes(scores, objectives),
        "fluency_mean": measured.fluency.mean(axis=1),
        "fluency_min": measured.fluency.min(axis=1),
        "kl_mean": kl,
        "efficiency": utility.efficiency(gain, kl, best.curve) if best else nothing,
        "regret": utility.regret(weights, scores, measured.kl, best.value) if best else nothing,
    }
    return {key: np.asarray(found[key], dtype=np.float64) for key in KEYS}


def _hypervolumes(scores: Floats, objectives: Sequence[Objective]) -> Floats:
    low, high = (np.array([getattr(objective, end) for objective in objectives]) for end in ("low", "high"))
    samples = None if len(scores) == 1 else REPLICATE_SAMPLES
    return np.array(
        [
            hypervolume_share(means, low, high, samples, seed)[0] if np.isfinite(means).all() else np.nan
            for seed, means in enumerate(scores)
        ]
    )


def row(
    estimate: Measured,
    replicates: Measured | None,
    objectives: Sequence[Objective],
    best: Best | None,
    reasons: Mapping[str, str] | None = None,
) -> Row:
    """The row of one policy; `reasons` overrides the usual explanation of a missing number."""
    values = {key: _number(value[0]) for key, value in numbers(estimate, objectives, best).items()}
    pairs: dict[str, tuple[float, float] | None] = dict.fromkeys(KEYS)
    if replicates is not None:
        drawn = numbers(replicates, objectives, best)
        pairs = {key: _pair(key, drawn[key], values[key]) for key in KEYS}
    known = {**_reasons(estimate, objectives, best), **(reasons or {})}
    return Row(values, pairs, {key: known[key] for key in KEYS if values[key] is None})


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _pair(key: str, drawn: Floats, estimate: float | None) -> tuple[float, float] | None:
    if estimate is None:
        return None
    low, high = BOUNDS.get(key, (-math.inf, math.inf))
    ends = np.clip(centred_interval(drawn, estimate), low, high)
    return (float(ends[0]), float(ends[1])) if np.isfinite(ends).all() else None


def _reasons(estimate: Measured, objectives: Sequence[Objective], best: Best | None) -> dict[str, str]:
    """Why each number could be missing; only those of missing numbers are kept."""
    unscored = "some weight has no scored reply"
    correlations = steerability.spearman(estimate.weights, estimate.scores)[0]
    still = [name for name, value in zip(names(objectives), correlations, strict=True) if not np.isfinite(value)]
    distance = "log-probabilities under the base are not known"
    known_distance = bool(np.isfinite(estimate.kl).all())
    return {
        **dict.fromkeys(KEYS, unscored),
        "spearman_mean": constant(still) if np.isfinite(estimate.scores).all() else unscored,
        **dict.fromkeys(("fluency_mean", "fluency_min"), "nothing says which replies are well formed"),
        "kl_mean": distance,
        "efficiency": NO_YARDSTICK if not best else _near(estimate) if known_distance else distance,
        "regret": NO_YARDSTICK if not best else distance if not known_distance else unscored,
    }


def constant(still: Sequence[str]) -> str:
    """Why these objectives have no rank correlation."""
    return f"the score of {', '.join(still)} is the same under every weight"


def _near(estimate: Measured) -> str:
    return (
        f"the policy stayed at the base (mean KL {estimate.kl.mean():.3f} nats, under {utility.SMALLEST_KL}), "
        "where the optimum gains nothing to divide by"
    )

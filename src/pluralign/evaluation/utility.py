"""Utility of a trade-off, and how near it comes to the exact optimum.

Sources: lab.md 'Definitions' and §3; methods.md F. Letters: G weights of a grid, K objectives. Utilities are in the
units of the scores, KL in nats per reply. Leading axes (`...`) are batch, e.g. bootstrap replicates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
REGRET_BETA = 0.25
# Below this distance the optimum's own gain is about the sampling error of a grid: nothing to divide by.
SMALLEST_KL = 0.02


class Optimum(Protocol):
    """The exact optimum π*_λ ∝ π_ref exp(λ·s / β_r) at each weight of a grid."""

    @property
    def scores(self) -> Floats:
        """E[s] under the optimum: [G, K]."""

    @property
    def kl(self) -> Floats:
        """KL to the reference, nats: [G]."""

    @property
    def value(self) -> Floats:
        """V*(λ) = β_r log Z = λ·E[s] - β_r KL: [G]."""

    @property
    def fluency(self) -> Floats:
        """Probability that the optimum's reply is well formed: [G]."""


class Yardstick(Protocol):
    """Whatever knows the exact optimum of a world (the lab does; real data does not). More is better in its scores."""

    def optimum(self, weights: Floats, beta_r: float) -> Optimum:
        """The optimum for weights [G, K] at inverse strength `beta_r` > 0."""

    @property
    def base(self) -> Floats:
        """E[s] under the reference: [K]."""


def utility(weights: Floats, scores: Floats) -> Floats:
    """λ·s per weight: [..., G] from weights [G, K] and scores [..., G, K]."""
    return np.asarray((weights * scores).sum(axis=-1))


def utility_gain(weights: Floats, scores: Floats, base: Floats) -> Floats:
    """Mean over the grid of λ·(s - s_base): [...], from base [..., K]."""
    return np.asarray(utility(weights, scores - np.asarray(base)[..., None, :]).mean(axis=-1))


def regret(weights: Floats, scores: Floats, kl: Floats, value: Floats, beta_r: float = REGRET_BETA) -> Floats:
    """Mean over the grid of V* - (λ·s - β_r KL): [...], from kl [..., G] and V* `value` [G]. 0 is optimal."""
    return np.asarray((value - (utility(weights, scores) - beta_r * kl)).mean(axis=-1))


@dataclass(frozen=True)
class GainCurve:
    """What the optimum gains at each distance from the base: means over the grid, from weak to strong.

    `kl` [B] (nats, increasing) and `gain` [B] (utility over the base, units of the scores).
    """

    kl: Floats
    gain: Floats

    @classmethod
    def of(cls, yardstick: Yardstick, weights: Floats, num_points: int = 120) -> GainCurve:
        """The curve over β_r from 50 (almost the base) down to .01 (almost the best single replies).

        Where the yardstick rests on samples, a handful of them carries the part below β_r = .25 (lab.md §3).
        """
        betas = np.geomspace(50.0, 0.01, num_points)
        optima = [yardstick.optimum(weights, float(beta_r)) for beta_r in betas]
        gain = [float(utility_gain(weights, optimum.scores, yardstick.base)) for optimum in optima]
        kl = [float(np.mean(optimum.kl)) for optimum in optima]
        # Both grow with strength; the maximum only removes rounding where the curve is flat.
        return cls(np.maximum.accumulate([0.0, *kl]), np.maximum.accumulate([0.0, *gain]))

    def at(self, kl: Floats) -> Floats:
        """The most utility that can be gained within mean distance `kl` (any shape; NaN stays NaN).

        0 at kl ≤ 0. Beyond the curve it is the curve's end: the best replies are reached, more distance adds nothing.
        """
        distance = np.maximum(np.asarray(kl, dtype=np.float64), 0.0)
        # Near the base gain grows like the square root of KL: in roots the curve is almost straight.
        return np.asarray(np.interp(np.sqrt(distance), np.sqrt(self.kl), self.gain))


def efficiency(gain: Floats, kl: Floats, curve: GainCurve) -> Floats:
    """Utility gain over the optimum's utility gain at the same KL: 1 is optimal.

    `gain` and `kl` are means over the grid, same shape. NaN where kl < .02 nats (the policy stayed at the base).
    """
    best = curve.at(kl)
    return np.where(np.asarray(kl) >= SMALLEST_KL, gain / np.where(best > 0, best, np.nan), np.nan)

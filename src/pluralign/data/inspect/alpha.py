"""Krippendorff's alpha, streamed unit by unit (Krippendorff, Content Analysis, 2nd ed. 2004, ch. 11).

    alpha = 1 - D_o / D_e,  D_o = Σ o_ck δ²(c, k) / n,  D_e = Σ n_c n_k δ²(c, k) / (n (n - 1))

The coincidence o_ck of values c and k sums over units u: the ordered pairs of two raters' values there / (m_u - 1), with
m_u raters; n_c = Σ_k o_ck; n = Σ n_c. δ² is 1 for different values (nominal), (c - k)² (interval), or the square of the
number of values between, the ends counted half (ordinal). Missing values need no care: a unit counts from two raters.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np

from pluralign.data.evidence import Array

Level = Literal["nominal", "ordinal", "interval"]
LEVELS: tuple[Level, ...] = ("nominal", "ordinal", "interval")
MOST_VALUES = 200


class Coincidences:
    """What raters said about the same units. With more than 200 different values only the interval alpha is known."""

    def __init__(self, shift: float = 0.0) -> None:
        self.shift = shift
        self.units = self.values = self.rater_pairs = self.equal_pairs = 0
        self.pairs: defaultdict[tuple[float, float], float] | None = defaultdict(float)
        self.seen: set[float] = set()
        self.within = self.first = self.second = 0.0

    def add(self, values: Sequence[float], times: int = 1) -> None:
        """The values of one unit, one per rater, or of so many units alike; fewer than two say nothing."""
        num = len(values)
        if num < 2:
            return
        counts = Counter(values)
        self.units += times
        self.values += times * num
        self.rater_pairs += times * num * (num - 1) // 2
        self.equal_pairs += times * sum(count * (count - 1) // 2 for count in counts.values())
        self._moments(counts, num, times)
        self._coincidences(counts, num, times)

    def _moments(self, counts: Counter[float], num: int, times: int) -> None:
        first = sum(count * (value - self.shift) for value, count in counts.items())
        second = sum(count * (value - self.shift) ** 2 for value, count in counts.items())
        if len(counts) > 1:
            self.within += times * 2 * (num * second - first**2) / (num - 1)
        self.first += times * first
        self.second += times * second

    def _coincidences(self, counts: Counter[float], num: int, times: int) -> None:
        if self.pairs is None:
            return
        for value, count in counts.items():
            for other, number in counts.items():
                self.pairs[value, other] += times * count * (number - (value == other)) / (num - 1)
        self.seen.update(counts)
        if len(self.seen) > MOST_VALUES:
            self.pairs = None

    def agreement(self) -> float:
        """The share of pairs of raters who said the same; NaN without one."""
        return self.equal_pairs / self.rater_pairs if self.rater_pairs else float("nan")

    def level(self) -> Level:
        """What fits the values: nominal for two of them, ordinal for a scale of up to ten, else interval."""
        num = len(self.seen)
        return "nominal" if num <= 2 else "ordinal" if num <= 10 else "interval"

    def alpha(self, level: Level) -> float:
        """1: perfect agreement, 0: as by chance; NaN where values do not vary, or are too many for the level."""
        if self.pairs is None:
            return self._alpha_of_moments() if level == "interval" else float("nan")
        values = np.array(sorted(self.seen))
        table = np.array([[self.pairs[one, two] for two in values.tolist()] for one in values.tolist()])
        marginal = table.sum(axis=1) if len(values) else np.zeros(0)
        apart = _distances(values, marginal, level)
        expected = float((np.outer(marginal, marginal) * apart).sum() / (marginal.sum() - 1)) if self.units else 0.0
        return 1 - float((table * apart).sum()) / expected if expected > 0 else float("nan")

    def _alpha_of_moments(self) -> float:
        num = self.values
        expected = 2 * (num * self.second - self.first**2) / (num - 1)
        return 1 - self.within / expected if expected > 1e-12 * self.second else float("nan")


def _distances(values: Array, marginal: Array, level: Level) -> Array:
    if level == "nominal":
        return np.asarray(values[:, None] != values[None], dtype=np.float64)
    if level == "interval":
        return np.asarray((values[:, None] - values[None]) ** 2)
    rank = np.cumsum(marginal) - marginal / 2  # the number of values below, the own ones counted half
    return np.asarray((rank[:, None] - rank[None]) ** 2)

"""What is said about two replies of one prompt: how many pairs are judged and tied, where objectives disagree, and length.

Axes: the K objectives, and the judgement without an objective as the last one. Two objectives conflict on a pair of
replies when each prefers another one; ties and unjudged pairs say nothing. Training on both then pulls the same pair
both ways (the CMPO thesis found that such pairs nearly cancel in what the objectives share).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pluralign.data.evidence import Array


@dataclass(frozen=True, slots=True)
class PairFacts:
    """Pairs of replies, A = K + 1 axes; shares are NaN where nothing was judged.

    `pairs` in all; per axis `judged`, share `tied` of the judged, number `by_length` of decided pairs whose lengths
    differ and the share `longer_wins` of them; `conflict` [A, A] is the share of the `both` [A, A] pairs decided on two
    axes where they prefer different replies; `mixed` of `comparable` pairs (decided on two objectives or more) have
    objectives on either side.
    """

    pairs: int
    judged: Array
    tied: Array
    by_length: Array
    longer_wins: Array
    conflict: Array
    both: Array
    mixed: float
    comparable: int


class Pairs:
    """Verdicts on pairs, added block by block; memory grows with the square of the axes only."""

    def __init__(self, num_axes: int) -> None:
        self.pairs = self.mixed = self.comparable = 0
        self.judged, self.tied, self.by_length, self.longer = (np.zeros(num_axes) for _ in range(4))
        self.both, self.apart = np.zeros((num_axes, num_axes)), np.zeros((num_axes, num_axes))

    def add(self, verdict: Array, longer: Array) -> None:
        """Add verdicts [B, A] (1: the first is better, -1, 0, NaN); `longer` [B] is 1 where the first is longer, -1, 0."""
        self.pairs += len(verdict)
        self.judged += (~np.isnan(verdict)).sum(axis=0)
        self.tied += (verdict == 0).sum(axis=0)
        first, second = (verdict == 1).astype(np.float64), (verdict == -1).astype(np.float64)
        decided, across = first + second, first.T @ second
        self.both += decided.T @ decided
        self.apart += across + across.T
        self.by_length += decided[longer != 0].sum(axis=0)
        self.longer += first[longer > 0].sum(axis=0) + second[longer < 0].sum(axis=0)
        own = verdict[:, :-1]
        several = ((own == 1) | (own == -1)).sum(axis=1) > 1
        self.comparable += int(several.sum())
        self.mixed += int(((own == 1).any(axis=1) & (own == -1).any(axis=1)).sum())

    def result(self) -> PairFacts:
        """The shares."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return PairFacts(
                self.pairs,
                self.judged,
                self.tied / self.judged,
                self.by_length,
                self.longer / self.by_length,
                self.apart / self.both,
                self.both,
                self.mixed / self.comparable if self.comparable else float("nan"),
                self.comparable,
            )

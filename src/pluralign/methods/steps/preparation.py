"""Preparation: feedback of any kind made into scores in common units, for methods that learn the size of a difference.

Where ratings share a halo, scores are made ipsative; where there are comparisons but no scores, a linear reward model
on the frozen trunk turns them into scores (lab.md, sections 2 and 9).
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pluralign.data.conversions.ipsative import ipsative
from pluralign.data.evidence import Array, evidence
from pluralign.data.halo import halo
from pluralign.data.objective import Objective
from pluralign.data.record import Record
from pluralign.data.scaling import rescaled
from pluralign.errors import ConfigError, DataError
from pluralign.losses.regression import Regression
from pluralign.methods.contract import TrainingData
from pluralign.policy import Policy
from pluralign.scorers.linear_reward import reward_scores

log = logging.getLogger("pluralign")
HALO = 0.3
Kind = Literal["auto", "scores", "comparisons"]
Taken = Literal["auto", "always", "never"]
Prepared = tuple[Sequence[Record], tuple[Objective, ...]]


@dataclass(frozen=True)
class Preparation:
    """`feedback`: learn from scores, or from comparisons through a reward model (auto: scores where all pairs have them);
    `ipsative`: take out what a reply's scores have in common (auto: where they correlate above .3); `kappa`: log-ratio
    in nats per standard deviation of a learnt reward; `span`: the width that every objective's range is scaled to."""

    feedback: Kind = "auto"
    ipsative: Taken = "auto"
    kappa: float = 4.4
    span: float = 4.0

    def __post_init__(self) -> None:
        for name, value in (("kappa", self.kappa), ("span", self.span)):
            if not 0 < value < float("inf"):
                raise ConfigError(f"{name} must be a finite number above 0, got {value}")

    def regression(
        self, loss: Regression, policy: Policy, data: TrainingData, seed: int
    ) -> tuple[Regression, Sequence[Record], tuple[Objective, ...]]:
        """The loss in the units of the scores, then train and validation records with those scores, one after the other.

        Standardising and taking out the halo look at the scores of both; no reward model is fitted on validation.
        """
        both = [*data.train, *data.validation]
        if self._learns_from_scores(data):
            records, objectives = self._without_halo(*rescaled(both, data.objectives, self.span))
            log.info("regression on scores, τ = %g", loss.tau)
            return loss, records, objectives
        share = {"auto": None, "always": 0.9, "never": 0.0}[self.ipsative]
        records, objectives = reward_scores(policy, both, data.objectives, seed, share, len(data.train))
        log.info("regression on rewards learnt from comparisons, κ = %g", self.kappa)
        return dataclasses.replace(loss, tau=1.0 / self.kappa), records, objectives

    def signs(self, data: TrainingData) -> Prepared:
        """Train and validation records for a loss that learns who is better, not by how much."""
        return self._without_halo([*data.train, *data.validation], data.objectives)

    def _learns_from_scores(self, data: TrainingData) -> bool:
        said = (evidence(record, data.objectives) for record in data.train)
        found = [(each.verdict, each.size) for each in said]
        labelled, sized = (sum(_between(values) for values in kind) for kind in zip(*found, strict=True))
        if not labelled:
            raise DataError("no two replies of a prompt are scored or compared on a common objective; check the data")
        if self.feedback == "scores" and sized < labelled:
            raise DataError("some pairs are compared but not scored; use --feedback comparisons (or auto)")
        return self.feedback == "scores" or (self.feedback == "auto" and sized == labelled)

    def _without_halo(self, records: Sequence[Record], objectives: tuple[Objective, ...]) -> Prepared:
        if self.ipsative == "never" or len(objectives) < 2:
            return records, objectives
        mean = halo(records, objectives).mean
        if self.ipsative == "auto" and not (mean is not None and mean > HALO):
            return records, objectives
        log.info("scores correlate at %.2f on average, so they are made ipsative", mean)
        changed = ipsative(records, objectives)
        return list(changed), changed.objectives


def _between(values: Array) -> int:
    """How many entries [N, N, K] are known of different replies (a reply's difference from itself says nothing)."""
    known = ~np.isnan(values)
    return int(known.sum()) - int(np.einsum("iik->", known.astype(int)))

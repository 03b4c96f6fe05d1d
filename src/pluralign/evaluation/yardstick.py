"""The lab's exact optimum in the form that the report card asks for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pluralign.lab import optimum as lab

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OptimumRow:
    """The optimum at each weight of a grid (see `utility.Optimum`)."""

    scores: Floats
    kl: Floats
    value: Floats
    fluency: Floats


@dataclass(frozen=True)
class ReferenceYardstick:
    """The exact optimum over a lab `Reference`: the grammar itself, or the base model's own samples.

    In the lab a reply scores 0 on every objective exactly when it is not well formed (a grammatical reply with 0 for
    concise has seven sentences, and one of them scores), so the optimum's fluency is 1 less its mass on that vector.
    """

    reference: lab.Reference

    @property
    def base(self) -> Floats:
        """E[s] under the reference: [K]."""
        return self.reference.mean

    def optimum(self, weights: Floats, beta_r: float) -> OptimumRow:
        """The optimum for weights [G, K] at inverse strength `beta_r` > 0."""
        found = lab.optimum(self.reference, weights, beta_r)
        ill_formed = (self.reference.scores == 0).all(axis=1)
        return OptimumRow(found.scores, found.kl, found.value, 1.0 - found.probabilities[:, ill_formed].sum(axis=1))

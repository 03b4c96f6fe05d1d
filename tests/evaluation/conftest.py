"""A tiny world with an exact optimum, and samples that look like an evaluation of the lab."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest


@dataclass(frozen=True)
class TiltedOptimum:
    """What a yardstick returns."""

    scores: np.ndarray
    kl: np.ndarray
    value: np.ndarray
    fluency: np.ndarray


@dataclass(frozen=True)
class FiniteWorld:
    """Finitely many replies with reference probabilities [N] and rewards [N, K]: the optimum by tilting."""

    reference: np.ndarray
    rewards: np.ndarray

    @property
    def base(self) -> np.ndarray:
        return self.reference @ self.rewards

    def optimum(self, weights: np.ndarray, beta_r: float) -> TiltedOptimum:
        tilt = weights @ self.rewards.T / beta_r + np.log(self.reference)
        top = tilt.max(axis=1, keepdims=True)
        unnormalised = np.exp(tilt - top)
        mass = unnormalised.sum(axis=1, keepdims=True)
        policy = unnormalised / mass
        value = beta_r * (np.log(mass) + top)[:, 0]
        scores = policy @ self.rewards
        kl = ((weights * scores).sum(axis=1) - value) / beta_r
        return TiltedOptimum(scores, kl, value, np.ones(len(weights)))


@pytest.fixture(scope="session")
def four_replies() -> FiniteWorld:
    """The four responses of methods.md H, section F."""
    return FiniteWorld(np.array([0.4, 0.3, 0.2, 0.1]), np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.8, 0.7]]))

"""A tiny world with an exact optimum, and samples that look like an evaluation of the lab."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from pluralign.data.objective import Objective
from pluralign.evaluation.samples import Cell, Samples


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


WORDS = ("Check the plug.", "Oh dear, poor you!", "Check it, friend.", "Poor you, check the plug, friend.")
OBJECTIVES = (Objective("helpful", "steps", 0.0, 1.0), Objective("warm", "sympathy", 0.0, 1.0))
GRID = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.8, 0.2]])


def drawn_cell(world: FiniteWorld, weights: np.ndarray, beta_r: float | None, rng: np.random.Generator) -> Cell:
    """Replies of the exact optimum at `beta_r` (the reference itself when None), with their true log-ratios."""
    tilt = np.zeros(4) if beta_r is None else world.rewards @ weights / beta_r
    policy = world.reference * np.exp(tilt)
    policy /= policy.sum()
    prompts = [f"p{number}" for number in range(30) for _ in range(40)]
    chosen = rng.choice(4, len(prompts), p=policy)
    return Cell.of(
        weights,
        prompts,
        [WORDS[reply] for reply in chosen],
        world.rewards[chosen],
        fluent=np.ones(len(prompts)),
        logratio=np.log(policy / world.reference)[chosen],
        lengths=np.array([3, 4, 3, 6])[chosen],
    )


@pytest.fixture(scope="session")
def optimal_samples(four_replies: FiniteWorld) -> Samples:
    """An evaluation of the exact optimum itself at β_r = .25."""
    rng = np.random.default_rng(0)
    cells = tuple(drawn_cell(four_replies, weights, 0.25, rng) for weights in GRID)
    base = tuple(drawn_cell(four_replies, weights, None, rng) for weights in GRID)
    texts = {f"p{number}": f"My lamp number {number} is dark." for number in range(30)}
    return Samples(OBJECTIVES, cells, base, prompt_texts=texts)

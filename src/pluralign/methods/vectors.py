"""Steering vectors: the mean difference between hidden states of better and worse replies, added while answering.

    u_l^(i) = mean over pairs y ≻_i y' of ( h_l(y) − h_l(y') ),      h_l ← h_l + Σ_i w_i u_l^(i)

h_l(y) is the mean over the reply's tokens of the states after block l. Source: static vectors as in Liu et al. 2023,
arXiv 2312.15997 (methods.md A22). Differs from the paper:
1. One set of vectors per objective, weighted as asked; the paper has one direction, good against bad.
2. Vectors are made longer or shorter by one factor; none is trained.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from pluralign.data.conversions.explode import explode
from pluralign.data.conversions.one_hot import one_hot
from pluralign.data.group import Group
from pluralign.data.objective import Objective
from pluralign.errors import ConfigError, DataError
from pluralign.layer_states import Pair, layer_means
from pluralign.methods.contract import Facts, TrainingData
from pluralign.policy import Policy
from pluralign.steering.vectors import VectorSteering
from pluralign.training.progress import Progress
from pluralign.training.run import Run

log = logging.getLogger("pluralign")


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """Directions in the hidden states; no training."""

    facts: ClassVar[Facts] = Facts("arXiv 2312.15997", "ratings or comparisons per objective", "weights", "0", "1")

    scale: float = 4.0
    """times the mean difference that weight 1 adds (the paper's a for its trained form: 5)"""
    pairs: int = 2000
    """pairs per objective to average, drawn by the seed where there are more"""
    steering: VectorSteering = field(default_factory=VectorSteering)
    """the blocks after which vectors are added"""

    def __post_init__(self) -> None:
        if not 0 < self.scale < float("inf") or self.pairs < 1:
            raise ConfigError(f"scale must be above 0 and pairs at least 1, got {self.scale} and {self.pairs}")

    def new_steering(self, objectives: Sequence[Objective]) -> VectorSteering:
        """Vectors."""
        return self.steering

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """Average the differences of every objective; put them into the policy."""
        layers = policy.steering.layers  # type: ignore[attr-defined]
        found = [self._directions(policy, data, objective, layers, run.seed) for objective in data.objectives]
        vectors = self.scale * torch.stack(found)  # [K, layers, d]
        names = list(policy.steering_state())
        policy.load_steering_state({name: vectors[:, place].clone() for place, name in enumerate(names)})
        return policy

    def _directions(
        self, policy: Policy, data: TrainingData, objective: Objective, layers: Sequence[int], seed: int
    ) -> Tensor:
        """u [layers, d] of one objective."""
        groups = [each for record in data.train for whole in one_hot(record, [objective]) for each in explode(whole)]
        order = torch.randperm(len(groups), generator=torch.Generator().manual_seed(seed))[: self.pairs]
        sides = [sides for place in order.tolist() if (sides := _sides(policy, groups[place])) is not None]
        if not sides:
            raise DataError(f"no pair of replies differs on {objective.name!r}; check its scores or comparisons")
        places = {pair: place for place, pair in enumerate(dict.fromkeys(pair for both in sides for pair in both))}
        rows = policy.reference_coefficients(len(places))
        with Progress(f"hidden states, {objective.name}", len(places)) as bar:
            means = layer_means(policy, list(places), rows, layers, bar.advance)
        better, worse = (means[[places[both[side]] for both in sides]] for side in (0, 1))
        return (better - worse).mean(0)


def _sides(policy: Policy, group: Group) -> tuple[Pair, Pair] | None:
    """(prompt ids, response ids) of the better and of the worse reply; None where one does not fit."""
    (judged,) = group.preferences
    texts = group.texts()
    found = [policy.encoder.pair(*texts[place]) for place in (judged.chosen, judged.rejected)]
    better, worse = ((tuple(pair[0]), tuple(pair[1])) if pair is not None else None for pair in found)
    return None if better is None or worse is None else (better, worse)

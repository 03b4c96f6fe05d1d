"""RAHF: representation alignment, an adapter that moves hidden states along the contrast of a good and a bad model.

    v_l(x, y) = h_l^good − h_l^bad,      adapter:  h_l^own ≈ h_l^base + a v_l

Source: Liu et al. 2023, arXiv 2312.15997 (methods.md A22), the DUAL form. 1. Fine-tune a good model on the better replies
and a bad one on the worse. 2. Their difference at every token is the direction. 3. Train an adapter whose hidden states are
the base's moved along it. Differs from the paper:
1. One adapter per objective, mixed by the asked weights; the paper has one, for overall preference.
2. The good and the bad model are adapters of the same base, not models of their own.
3. Steps are counted, not epochs; the adapter stands on all attention projections unless steering.where says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import Tensor

from pluralign.data.condition import Weights, one_hot
from pluralign.data.conversions import one_hot as one_hot_pairs
from pluralign.data.conversions.explode import explode
from pluralign.data.group import Group
from pluralign.data.objective import Objective
from pluralign.data.record import Record
from pluralign.errors import DataError
from pluralign.losses.hidden import HiddenContrast
from pluralign.losses.sft import SFT
from pluralign.methods.contract import Facts, TrainingData
from pluralign.policy import Policy
from pluralign.steering.contrast import BAD, GOOD, ContrastSteering
from pluralign.training.fit import fit
from pluralign.training.optim import Optim
from pluralign.training.run import Run
from pluralign.training.source import GroupSource


@dataclass(frozen=True, kw_only=True)
class Rahf:
    """Adapters that imitate a contrast of hidden states."""

    facts: ClassVar[Facts] = Facts("arXiv 2312.15997", "comparisons or ratings per objective", "weights", "3 per objective", "1")  # fmt: skip

    sides: Optim = field(default_factory=lambda: Optim(steps=100, lr=3e-4, head_lr=3e-4, weight_decay=0.0))
    """the fine-tuning of the good and of the bad model"""
    optim: Optim = field(default_factory=lambda: Optim(steps=100, lr=3e-4, head_lr=3e-4, weight_decay=0.0))
    """the training of the adapter; decay is 0, since it would also move the sides"""
    amount: float = 5.0
    """a, how far along the contrast (paper: 5)"""
    layers: tuple[int, ...] = (10, 12, 14, 16, 18, 20)
    """blocks whose states are matched, from 0 (paper: these, of 32)"""
    positions: int = 64
    """last tokens of a reply that count (paper: 64)"""
    steering: ContrastSteering = field(default_factory=ContrastSteering)
    """where the adapters stand"""

    def new_steering(self, objectives: Sequence[Objective]) -> ContrastSteering:
        """Adapters, and the two sides while training."""
        return self.steering

    def train(self, policy: Policy, data: TrainingData, run: Run) -> Policy:
        """Steps 1 to 3 for every objective; the sides are emptied in the end."""
        start = _copied(policy)
        trained = _copied(policy)
        loss = HiddenContrast(self.layers, self.amount, self.positions)
        for place, objective in enumerate(data.objectives):
            policy.load_steering_state(start)
            better, worse = _sides(data.train, objective)
            for name, side, replies in (("good", GOOD, better), ("bad", BAD, worse)):  # 1
                groups = [replace(group, conditions=(Weights({side: 1.0}),)) for group in replies]
                source = GroupSource(groups, self.sides.batch_size, run.seed)
                fit(policy, source, SFT(), run.stage(f"{name}-{objective.name}"), self.sides)
            asked = (one_hot(objective.name), Weights({GOOD: 1.0}), Weights({BAD: 1.0}), None)  # 2
            groups = [replace(group, conditions=asked) for group in better]
            source = GroupSource(groups, self.optim.batch_size, run.seed)
            fit(policy, source, loss, run.stage(f"adapter-{objective.name}"), self.optim)  # 3
            for key, tensor in policy.steering_state().items():
                trained[key][place] = tensor[place]
        policy.load_steering_state(trained)
        return policy


def _copied(policy: Policy) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in policy.steering_state().items()}


def _sides(records: Sequence[Record], objective: Objective) -> tuple[list[Group], list[Group]]:
    """Better and worse replies of every pair that the objective tells apart, each a group of its own."""
    found: tuple[list[Group], list[Group]] = ([], [])
    for record in records:
        for pair in (each for whole in one_hot_pairs.one_hot(record, [objective]) for each in explode(whole)):
            (judged,) = pair.preferences
            for side, place in zip(found, (judged.chosen, judged.rejected), strict=True):
                cut = (0,) if place in pair.unfinished else ()
                side.append(Group(pair.messages, (pair.responses[place],), unfinished=cut))
    if not found[0]:
        raise DataError(f"no pair of replies differs on {objective.name!r}; check its scores or comparisons")
    return found

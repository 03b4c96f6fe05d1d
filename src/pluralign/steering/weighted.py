"""What every steering by weights shares: a change per objective in the chosen layers (`deltas.py`), mixed by λ."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pluralign.data.condition import Condition, Weights, vector
from pluralign.data.objective import Objective
from pluralign.encoding import Encoder
from pluralign.errors import ConditionError
from pluralign.steering.contract import DeltaSteering
from pluralign.steering.deltas import Deltas
from pluralign.steering.surgery import DeltaSpec, Rank, Where, install


class ByWeights(DeltaSteering):
    """A condition is weights, and they are the coefficients of the model's changes, wherever these stand."""

    kind: ClassVar[str]
    accepts: ClassVar[tuple[type, ...]] = (Weights,)
    _num: ClassVar[int] = 0  # D, the instance's own once attached

    @property
    def reference_inside(self) -> bool:
        """Always: coefficients of 0 leave every change out."""
        return True

    def translate(self, condition: Condition, objectives: Sequence[Objective]) -> Weights:
        """Weights as they are; other kinds raise ConditionError."""
        if not isinstance(condition, Weights):
            example = ",".join(f"{objective.name}={1 / len(objectives):.2g}" for objective in objectives)
            raise ConditionError(f"this policy is steered by weights, e.g. '{example}', not by {condition}")
        return condition

    def base_shares(self, totals: Tensor) -> Tensor:
        """The share of the base matrix for rows whose weights sum to `totals` [R]: one."""
        return torch.ones_like(totals)

    def coefficients(self, conditions: Sequence[Condition | None], objectives: Sequence[Objective]) -> Tensor:
        """[R, K + 2]; None is the reference (no change)."""
        rows = np.zeros((len(conditions), self.num_changes(objectives) + 2), dtype=np.float64)
        rows[:, -1] = 1.0
        for row, condition in zip(rows, conditions, strict=True):
            if condition is not None:
                weights = self.translate(condition, objectives)
                row[:-2] = self.amounts(weights, objectives)
                row[-2] = weights.strength
                row[-1] = float(self.base_shares(torch.tensor([sum(weights.values.values())], dtype=torch.float64)))
        return torch.tensor(rows, dtype=torch.float32)

    def amounts(self, weights: Weights, objectives: Sequence[Objective]) -> NDArray[np.float64]:
        """How much of each change [D] the weights ask for: the weights times their strength."""
        return vector(weights, objectives)

    def expand(self, steer: Tensor) -> Tensor:
        """Weights [R, K] -> coefficients [R, K + 2] with strength 1; coefficients pass through."""
        if steer.dim() != 2 or steer.shape[1] not in (self._num, self._num + 2):
            raise ConditionError(f"steer= takes weights [rows, {self._num}], got shape {list(steer.shape)}")
        if steer.shape[1] == self._num + 2:
            return steer
        base = self.base_shares(steer.sum(1))[:, None]
        return torch.cat([steer, torch.ones_like(steer[:, :1]), base], dim=1)

    def config(self) -> dict[str, Any]:
        """The constructor's fields."""
        return {each.name: getattr(self, each.name) for each in fields(self)}  # type: ignore[arg-type]


@dataclass
class WeightedSteering(ByWeights):
    """A change per objective, and perhaps a shared adapter; a kind says how the asked weights mix them."""

    where: Where = "head"
    """head (CMPO), attention (attn-CLP) or all (full-CLP)"""
    rank: Rank = 16
    """rank of each objective's change, or 'full'"""
    shared_where: Where | None = None
    """layers with one adapter for all conditions (the thesis: attention); none keeps the trunk frozen"""
    shared_rank: Rank = 16
    """rank of the shared adapter, or 'full'"""
    shared_alpha: float = 32.0
    """LoRA's alpha of the shared adapter (its product is scaled by alpha / rank)"""
    seed: int = 0
    """of the changes' initial values"""

    def attach(self, model: nn.Module, encoder: Encoder, objectives: Sequence[Objective]) -> None:
        """Replace the chosen layers; everything else is frozen."""
        self._num = self.num_changes(objectives)  # type: ignore[misc]
        shared = (self.shared_where, self.shared_rank, self.shared_alpha)
        spec = DeltaSpec(self._num, self.where, self.rank, *shared, self.seed, self.changes())
        self._objectives = tuple(objectives)
        self._state = install(  # type: ignore[misc]
            model, spec, self.expand, self._num + 2
        )

    def changes(self) -> type[Deltas]:
        """How the changes of a layer are mixed: term by term."""
        return Deltas

    def trunk_columns(self) -> list[int]:
        """With plural heads only, the trunk depends on the shared share alone (and on nothing without one)."""
        if self.where != "head":
            return list(range(self._num + 2))
        return [self._num] if self.shared_where in ("attention", "all") else []

    def cache_key(self, condition: Condition | None) -> Hashable:
        """The condition, unless only the head is steered."""
        if self.where != "head":
            return str(condition)
        shared = self.shared_where in ("attention", "all")
        return (0.0 if condition is None else condition.strength) if shared else None

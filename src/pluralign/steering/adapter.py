"""What unsteered and prompt-steered models share: all weights trained in full, or one adapter (LoRA) for every row."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pluralign.data.condition import Condition
from pluralign.data.objective import Objective
from pluralign.encoding import Encoder
from pluralign.errors import ConditionError
from pluralign.steering.contract import DeltaSteering
from pluralign.steering.surgery import DeltaSpec, Rank, Where, install


@dataclass
class AdapterSteering(DeltaSteering):
    """A model whose parameters do not depend on the condition; a kind of steering says what it accepts and writes."""

    kind: ClassVar[str]
    accepts: ClassVar[tuple[type, ...]] = ()

    shared_where: Where | None = "attention"
    """layers with a LoRA adapter; none trains all weights in full"""
    shared_rank: Rank = 16
    """rank of the adapter, or 'full'"""
    shared_alpha: float = 32.0
    """LoRA's alpha"""
    seed: int = 0
    """of the adapter's initial values"""

    @property
    def reference_inside(self) -> bool:
        """An adapter can be left out; fully trained weights cannot be undone."""
        return self.shared_where is not None

    def attach(self, model: nn.Module, encoder: Encoder, objectives: Sequence[Objective]) -> None:
        """Add the adapter, or make every weight trainable."""
        spec = DeltaSpec(0, "head", 1, self.shared_where, self.shared_rank, self.shared_alpha, self.seed)
        self._num = self.num_changes(objectives)
        self._state = install(  # type: ignore[misc]
            model, spec, self.expand, self._num + 2
        )
        if self.shared_where is None:
            model.requires_grad_(True)

    def coefficients(self, conditions: Sequence[Condition | None], objectives: Sequence[Objective]) -> Tensor:
        """[R, K + 2]: the adapter and the base, the same for every row."""
        rows = torch.zeros(len(conditions), self.num_changes(objectives) + 2)
        rows[:, -2:] = 1.0
        return rows

    def expand(self, steer: Tensor) -> Tensor:
        """Coefficients [R, K + 2] as they are; ConditionError for weights, which these parameters do not know."""
        if steer.dim() != 2 or steer.shape[1] != self._num + 2:
            raise ConditionError(
                f"steer= takes coefficients [rows, {self._num + 2}] of `coefficients()` here, got shape "
                f"{list(steer.shape)}; this model's parameters do not depend on weights"
            )
        return steer

    def trunk_columns(self) -> list[int]:
        """The adapter's share."""
        return [self._num] if self.shared_where else []

    def cache_key(self, condition: Condition | None) -> Hashable:
        """Constant: there is nothing to ask for."""
        return None

    def config(self) -> dict[str, Any]:
        """The constructor's fields."""
        return {name: getattr(self, name) for name in ("shared_where", "shared_rank", "shared_alpha", "seed")}

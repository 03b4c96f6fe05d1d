"""Proxy steering: small models, tuned and not, say how a big one should change; the big one's weights never move.

    logits = big + a s Σ_i w_i (small_i − small_0)          a: the amount; w: the asked weights; s: their strength

small_i is the small model tuned on objective i, small_0 the same before. They stand in the policy's helpers, each with
a cache of its own while decoding: one helper that holds the tuned models as changes of its base, or, if `separate`, the
untuned model first and a model per objective behind it.

Source: Liu et al. 2024, arXiv 2401.08565 (methods.md A18), where one tuned model stands with a = 1; DExperts (Liu et al.
2021) is the same sum. A constant added to any model's logits changes nothing. Several objectives, weights and the
plausibility mask are ours.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any, ClassVar

from torch import Tensor, nn

from pluralign.data.condition import Condition, Weights, one_hot, vector
from pluralign.data.objective import Objective
from pluralign.encoding import Encoder
from pluralign.errors import ConditionError, ConfigError, ModelError
from pluralign.steering.contract import DeltaSteering, reference_coefficients
from pluralign.steering.plausible import check_plausibility, plausible
from pluralign.steering.surgery import DeltaSpec, install

_NOTHING = 1e-9


@dataclass
class ProxySteering(DeltaSteering):
    """A big model that is left alone, and the differences of small ones."""

    kind: ClassVar[str] = "proxy"
    accepts: ClassVar[tuple[type, ...]] = (Weights,)

    amount: float = 1.0
    """how much of the small models' difference is added (a; paper: 1)"""
    plausibility: float = 0.0
    """tokens below this share of the big model's likeliest one are left out (κ; paper: 0, nothing)"""
    separate: bool = False
    """whether the helpers are the untuned small model and then one model per objective, instead of one that holds all"""

    def __post_init__(self) -> None:
        check_plausibility(self.plausibility)
        if not isfinite(self.amount):
            raise ConfigError(f"amount must be a finite number, got {self.amount}")

    @property
    def reference_inside(self) -> bool:
        """Always: the big model is the reference."""
        return True

    def attach(self, model: nn.Module, encoder: Encoder, objectives: Sequence[Objective]) -> None:
        """Nothing to add: every weight is frozen."""
        self._objectives = tuple(objectives)
        self._state = install(  # type: ignore[misc]
            model, DeltaSpec(), self.expand, self.num_changes(objectives) + 2
        )

    def translate(self, condition: Condition, objectives: Sequence[Objective]) -> Weights:
        """Weights as they are; other kinds raise ConditionError."""
        if not isinstance(condition, Weights):
            raise ConditionError(f"small models are weighted, e.g. '{objectives[0].name}=1', not asked for {condition}")
        return condition

    def members(self, condition: Condition | None) -> list[tuple[Condition | None, float]]:
        """The big model, asked for nothing."""
        return [(None, 1.0)]

    def helpers(self, condition: Condition | None) -> list[tuple[int, Condition | None, float]]:
        """A tuned small model per weighted objective, and the untuned one with the negative sum of their shares."""
        if condition is None:
            return []
        shares = self.amount * vector(self.translate(condition, self._objectives), self._objectives)
        asked = [(place, share) for place, share in enumerate(shares.tolist()) if abs(share) > _NOTHING]
        total = sum(share for _, share in asked)
        untuned: list[tuple[int, Condition | None, float]] = [(0, None, -total)] if abs(total) > _NOTHING else []
        if self.separate:
            return [(place + 1, None, share) for place, share in asked] + untuned
        return [(0, one_hot(self._objectives[place].name), share) for place, share in asked] + untuned

    def combine(self, logprobs: Tensor, shares: Tensor, owners: Tensor, num: int) -> Tensor:
        """The sum of log-probabilities, in what the big model finds plausible."""
        return plausible(super().combine(logprobs, shares, owners, num), logprobs, owners, self.plausibility)

    def check_merge(self, condition: Condition | None) -> None:
        """ModelError for a condition: models of several sizes have no common weights."""
        if self.helpers(condition):
            raise ModelError("a proxy-tuned policy is several models, and no single model's weights hold them; ask for nothing")  # fmt: skip

    def coefficients(self, conditions: Sequence[Condition | None], objectives: Sequence[Objective]) -> Tensor:
        """[R, K + 2] of the big model; ConditionError for a condition that its helpers answer too."""
        for condition in conditions:
            if self.helpers(condition):
                raise ConditionError(
                    f"{condition} is answered by several models together: sample, or ask policy.logprobs"
                )
        return reference_coefficients(len(conditions), self.num_changes(objectives))

    def expand(self, steer: Tensor) -> Tensor:
        """Always raises: no parameter is steered."""
        raise ConditionError("this policy's parameters are not steered: sample, or ask policy.logprobs")

    def trunk_columns(self) -> list[int]:
        """None: nothing acts on the trunk."""
        return []

    def cache_key(self, condition: Condition | None) -> Hashable:
        """Constant: the big model reads every prompt alike."""
        return None

    def config(self) -> dict[str, Any]:
        """The constructor's fields."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

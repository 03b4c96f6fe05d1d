"""The contract of a steering: how a condition enters a model.

Coefficients of a row are C = D + 2 numbers: one for each of the D changes (λ_1 .. λ_K times the condition's strength,
where every objective has one change), the shared share, the base share (see `deltas.py`). A text steering uses only the
last two.
"""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pluralign.data.condition import Condition
from pluralign.data.objective import Objective
from pluralign.data.record import Message
from pluralign.encoding import CONDITION, Encoder
from pluralign.errors import DataError
from pluralign.steering.deltas import SteerState


@runtime_checkable
class Steering(Protocol):
    """A mechanism. Its dataclass fields are its configuration, saved with the policy."""

    kind: ClassVar[str]
    accepts: ClassVar[tuple[type, ...]]

    @property
    def reference_inside(self) -> bool:
        """Whether the untrained base can still be computed from the trained model (coefficients 0 .. 0, 0, 1)."""

    def num_changes(self, objectives: Sequence[Objective]) -> int:
        """D, how many changes the model has: one per objective in most."""

    def translate(self, condition: Condition, objectives: Sequence[Objective]) -> Condition:
        """The condition in this mechanism's own kind; ConditionError with a reason where it cannot be read."""

    def attach(self, model: nn.Module, encoder: Encoder, objectives: Sequence[Objective]) -> None:
        """Once: add layers and tokens, freeze what is not trained."""

    def write(self, messages: Sequence[Message], condition: Condition | None) -> tuple[Message, ...]:
        """The text seam: the dialogue with the condition written in; identity unless prompt-like."""

    def members(self, condition: Condition | None) -> list[tuple[Condition | None, float]]:
        """The rows that must be run for one request and the coefficient of each one's logits."""

    def helpers(self, condition: Condition | None) -> list[tuple[int, Condition | None, float]]:
        """Rows of other models beside the members: the number of the policy's helper, what it is asked, its share."""

    def combine(self, logprobs: Tensor, shares: Tensor, owners: Tensor, num: int) -> Tensor:
        """Log-probabilities [M, V] of members, with their shares [M] and requests [M] -> logits [num, V] of requests."""

    def check_merge(self, condition: Condition | None) -> None:
        """Raise ModelError where no single model's weights answer as this condition asks."""

    def coefficients(self, conditions: Sequence[Condition | None], objectives: Sequence[Objective]) -> Tensor:
        """Conditions of single members -> float32 [R, C]."""

    def steered(
        self, model: nn.Module, coefficients: Tensor, index: Tensor | None = None
    ) -> contextlib.AbstractContextManager[None]:
        """Put coefficients [R, C] in force; with index [R, T], a token uses the row that it names."""

    def trunk_columns(self) -> list[int]:
        """Which coefficients act before the head; rows that agree in these share one pass of the trunk."""

    def cache_key(self, condition: Condition | None) -> Hashable:
        """What a cached prefix depends on besides its tokens (constant when only the head is steered)."""

    def config(self) -> dict[str, Any]:
        """The fields, as JSON."""


class DeltaSteering:
    """What every steering made of plural layers shares: one row for a request, and the state of its layers."""

    _state: ClassVar[SteerState | None] = None  # the instance's own once attached; no field: it is no setting

    def num_changes(self, objectives: Sequence[Objective]) -> int:
        """One per objective."""
        return len(objectives)

    def write(self, messages: Sequence[Message], condition: Condition | None) -> tuple[Message, ...]:
        """Identity (DataError where a turn claims to be a condition)."""
        return spoken(messages)

    def members(self, condition: Condition | None) -> list[tuple[Condition | None, float]]:
        """One row."""
        return [(condition, 1.0)]

    def helpers(self, condition: Condition | None) -> list[tuple[int, Condition | None, float]]:
        """None: one model answers."""
        return []

    def combine(self, logprobs: Tensor, shares: Tensor, owners: Tensor, num: int) -> Tensor:
        """The weighted sum of log-probabilities: a geometric mean."""
        terms = shares.to(logprobs)[:, None] * logprobs
        return logprobs.new_zeros(num, logprobs.shape[1]).index_add(0, owners, terms)

    def check_merge(self, condition: Condition | None) -> None:
        """One row answers, so its weights can be merged."""

    def steered(
        self, model: nn.Module, coefficients: Tensor, index: Tensor | None = None
    ) -> contextlib.AbstractContextManager[None]:
        """Put coefficients [R, C] in force for forwards and backwards inside the context."""
        assert self._state is not None, "attach first"
        return self._state.set(coefficients, index)


def spoken(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The dialogue as it is; DataError where a turn claims to be a condition, which only a steering may write."""
    if any(message.role == CONDITION for message in messages):
        raise DataError(f"a dialogue has no turn of role {CONDITION!r}; ask with a condition beside it")
    return tuple(messages)


def reference_coefficients(num_rows: int, num_changes: int) -> Float[Tensor, "R C"]:
    """Coefficients [R, C] of the reference: no change, base share 1."""
    coefficients = torch.zeros(num_rows, num_changes + 2)
    coefficients[:, -1] = 1.0
    return coefficients

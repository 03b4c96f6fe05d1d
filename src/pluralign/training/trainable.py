"""What training asks of a policy. `policy.Policy` is one; anything with these few parts can be trained.

Letters: R rows, L conditions of a row, C coefficients of a condition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from pluralign.data.condition import Condition
from pluralign.data.record import Message
from pluralign.losses.outputs import Loss, Metrics, Outputs
from pluralign.training.batching import Batch


class PairEncoder(Protocol):
    """Messages and a response to token ids."""

    def pair(
        self, messages: Sequence[Message], response: str, finished: bool = True
    ) -> tuple[list[int], list[int]] | None:
        """(prompt ids, response ids), or None where the response does not fit; a finished one has its end token."""


class Seams(Protocol):
    """What training asks of a steering."""

    @property
    def reference_inside(self) -> bool:
        """Whether the reference can still be computed after training changed the policy."""

    def write(self, messages: Sequence[Message], condition: Condition | None) -> tuple[Message, ...]:
        """The messages with the condition's text; unchanged for None and for every other kind of steering."""


class Trainable(Protocol):
    """A policy as the training loop sees it."""

    @property
    def model(self) -> torch.nn.Module:
        """Everything that has to be on the device."""

    @property
    def encoder(self) -> PairEncoder:
        """The one place where text becomes ids."""

    @property
    def steering(self) -> Seams:
        """How a condition enters."""

    def outputs(self, batch: Batch) -> Outputs:
        """Differentiable log-probabilities of the batch's rows."""

    def losses(self, batch: Batch, loss: Loss, scale: float = 1.0) -> tuple[Tensor, Tensor, Metrics]:
        """(scale · Σ losses, differentiable; the losses [P]; their metrics): `outputs` and the loss in one go."""

    def reference_logprobs(self, batch: Batch) -> Tensor:
        """log π_ref(y|x) [R] of the batch's rows, unconditioned, without gradient."""

    @property
    def frozen_trunk(self) -> bool:
        """Whether hidden states before the head depend on nothing that is trained or asked."""

    def trunk_states(self, batch: Batch) -> Tensor:
        """Hidden states [N, d] at the positions that predict the batch's response tokens, without gradient."""

    def coefficients(self, conditions: Sequence[Condition | None]) -> Tensor:
        """[L, C] coefficients of conditions; None is the unconditioned policy."""

    def trainable(self) -> dict[str, list[torch.nn.Parameter]]:
        """The parameters to train, in groups; "heads" has a learning rate of its own."""

    def trainable_state(self) -> dict[str, Tensor]:
        """The trained tensors by name."""

    def load_trainable_state(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `trainable_state`, in place."""

    def fingerprint(self) -> str:
        """Identity of the model, its encoder and its steering, by content."""

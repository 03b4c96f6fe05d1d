"""What a loss sees: log-probabilities and judgements. No model in sight.

Letters: R rows (responses), L conditions a row is judged under, P preferences (pairs).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

Metrics = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Outputs:
    """Log-probabilities in nats, summed over the response's tokens (end token included).

    logprobs [R, L] under each condition; reference [R] of the unconditioned reference (NaN where absent);
    lengths [R] in response tokens.
    """

    logprobs: Tensor
    reference: Tensor
    lengths: Tensor


@dataclass(frozen=True, slots=True)
class Judgements:
    """Who beats whom: chosen, rejected [P] row indices, condition [P] index into L, margin [P] (NaN: unknown)."""

    chosen: Tensor
    rejected: Tensor
    condition: Tensor
    margin: Tensor

    def to(self, device: torch.device | str) -> Judgements:
        """The same judgements on another device."""
        return Judgements(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


class Loss(Protocol):
    """A frozen dataclass whose fields are its hyper-parameters.

    Returns one value per example ([P] for pairwise losses, [R·L] for imitation) and metrics (detached tensors,
    one value per example). `couples` says which examples must be seen together: a "pair", all of a "prompt", or
    the whole "batch".
    """

    couples: ClassVar[Literal["pair", "prompt", "batch"]]

    def __call__(self, outputs: Outputs, judgements: Judgements) -> tuple[Tensor, Metrics]:
        """Per-example loss and metrics."""


def log_ratios(outputs: Outputs) -> Tensor:
    """ρ [R, L] = log π_θ(y|x, λ) − log π_ref(y|x)."""
    return outputs.logprobs - outputs.reference[:, None]


def pair_log_ratios(outputs: Outputs, judgements: Judgements) -> tuple[Tensor, Tensor]:
    """(ρ_chosen, ρ_rejected), each [P]; their difference is δ of methods.md §1."""
    rho = log_ratios(outputs)
    return rho[judgements.chosen, judgements.condition], rho[judgements.rejected, judgements.condition]


__all__ = ["Judgements", "Loss", "Metrics", "Outputs", "log_ratios", "pair_log_ratios"]

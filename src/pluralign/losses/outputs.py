"""What a loss sees: log-probabilities and judgements. No model in sight.

Letters: R rows (responses), L conditions a row is judged under, P examples (preferences, or responses to imitate).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from pluralign.errors import ConfigError

Metrics = dict[str, Tensor]
SEEN = "seen"
"""The series [N][tokens] of a group that says whether later tokens see this one (0: hidden from them; else seen)."""
NOTHING = -1  # the `rejected` of an example that is imitated, not compared


@dataclass(frozen=True, slots=True)
class Outputs:
    """Log-probabilities in nats, summed over the response's tokens (end token included).

    logprobs [R, L] under each condition; reference [R] of the unconditioned reference (NaN where absent);
    lengths [R] in response tokens; groups [R], which prompt a row answers (equal numbers, equal prompts), for losses
    that couple a prompt.
    """

    logprobs: Tensor
    reference: Tensor
    lengths: Tensor
    groups: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOutputs(Outputs):
    """What a loss with `view = "tokens"` sees besides: an entry [N] for every response token.

    rows [N] ascending: where the token's response under its condition stands in `logprobs.flatten()` (r · L + l);
    token_logprobs [N] of the token itself; entropy [N] of the distribution that it was drawn from; with
    `needs_reference`, kl_forward [N] = KL(p_0 ‖ p_θ) and kl_reverse [N] = KL(p_θ ‖ p_0), where p_0 is the reference after
    the unconditioned prompt; nats, over the vocabulary without the tokens that enclose a condition. `series` by name
    [N]: the numbers that groups gave to tokens (NaN where they gave none).
    """

    rows: Tensor
    token_logprobs: Tensor
    entropy: Tensor
    kl_forward: Tensor | None = None
    kl_reverse: Tensor | None = None
    series: Mapping[str, Tensor] = field(default_factory=dict)

    def summed(self, tokens: Tensor) -> Tensor:
        """Sums over the tokens of a response: [N] -> [R · L]."""
        return tokens.new_zeros(self.logprobs.numel()).index_add(0, self.rows, tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateOutputs(Outputs):
    """What a loss with `view = "states"` sees: hidden states [N, layers, d] after the loss's `layers` at every response
    token, rows [N] ascending as in `TokenOutputs`; no log-probabilities (zeros [R, L])."""

    states: Tensor
    rows: Tensor


@dataclass(frozen=True, slots=True)
class Judgements:
    """Who beats whom: chosen, rejected [P] row indices, condition [P] index into L, margin [P] (NaN: unknown).

    An example to imitate has no opponent: its `rejected` is -1, and its margin the value that its group gives it (an
    advantage, a log-weight; NaN without).
    """

    chosen: Tensor
    rejected: Tensor
    condition: Tensor
    margin: Tensor

    def to(self, device: torch.device | str) -> Judgements:
        """The same judgements on another device."""
        return Judgements(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))


class Loss(Protocol):
    """A frozen dataclass whose fields are its hyper-parameters.

    Returns one value per example, [P], and metrics (detached tensors, one value per example). `couples` says
    which examples must be seen together: a "pair", all of a "prompt", or the whole "batch".
    `needs_reference`: whether reference log-probabilities have to be computed for it. A loss with a class attribute
    `view = "tokens"` is given `TokenOutputs`, by autograd through the logits (slower than the sums that others see).
    """

    couples: ClassVar[Literal["pair", "prompt", "batch"]]

    @property
    def needs_reference(self) -> bool:
        """Whether reference log-probabilities have to be computed."""

    def __call__(self, outputs: Outputs, judgements: Judgements) -> tuple[Tensor, Metrics]:
        """Per-example loss and metrics."""


def sees_states(loss: Loss) -> bool:
    """Whether a loss is given `StateOutputs` of its `layers`."""
    return getattr(loss, "view", "sums") == "states"


def sees_tokens(loss: Loss) -> bool:
    """Whether a loss is given `TokenOutputs`."""
    return getattr(loss, "view", "sums") == "tokens"


def total(loss: Loss, outputs: Outputs, judgements: Judgements, scale: float = 1.0) -> tuple[Tensor, Tensor, Metrics]:
    """(scale · Σ losses, differentiable; the losses [P], detached; their metrics)."""
    losses, metrics = loss(outputs, judgements)
    return losses.sum() * scale, losses.detach(), metrics


def log_ratios(outputs: Outputs) -> Tensor:
    """ρ [R, L] = log π_θ(y|x, λ) − log π_ref(y|x), float32; subtracted in float64, being small beside its parts."""
    return (outputs.logprobs.double() - outputs.reference.double()[:, None]).float()


def pair_log_ratios(outputs: Outputs, judgements: Judgements) -> tuple[Tensor, Tensor]:
    """(ρ_chosen, ρ_rejected), each [P]; their difference is δ of methods.md §1.

    Raises ConfigError for examples without an opponent.
    """
    if bool((judgements.rejected < 0).any()):
        raise ConfigError(
            "a pairwise loss was given responses without an opponent (groups without preferences); "
            "train on preferences, or imitate these responses with the loss 'sft'"
        )
    rho = log_ratios(outputs)
    return rho[judgements.chosen, judgements.condition], rho[judgements.rejected, judgements.condition]


def pair_metrics(rho_chosen: Tensor, rho_rejected: Tensor, scale: float) -> Metrics:
    """What every pairwise loss reports, each [P]: ρ of both, δ, h = scale·δ, accuracy (δ > 0; a tie counts ½)."""
    delta = rho_chosen.detach() - rho_rejected.detach()
    return {
        "rho_chosen": rho_chosen.detach(),
        "rho_rejected": rho_rejected.detach(),
        "delta": delta,
        "h": scale * delta,
        "accuracy": (delta > 0).float() + 0.5 * (delta == 0).float(),
    }


def check_positive(loss: str, **values: float) -> None:
    """Raise ConfigError unless every hyper-parameter is a finite number above 0."""
    for name, value in values.items():
        if not 0 < value < float("inf"):
            raise ConfigError(f"{loss}: {name} must be a finite number above 0, got {value!r}")


__all__ = [
    "NOTHING",
    "SEEN",
    "Judgements",
    "Loss",
    "Metrics",
    "Outputs",
    "StateOutputs",
    "TokenOutputs",
    "check_positive",
    "log_ratios",
    "pair_log_ratios",
    "pair_metrics",
    "sees_states",
    "sees_tokens",
    "total",
]

"""Losses of reward models: Bradley-Terry, squared error, cross-entropy over classes (methods.md D1-D3, A9).

What a reward model gives for a reply stands in `Outputs.logprobs` [R, L], a column per condition: the reward of one
objective (a one-hot of weights), or the log-probability that an objective has a class (targets). Letters: P examples.

Sources: Bradley and Terry 1952, with the margin and the centring term of Llama 2 (arXiv 2307.09288) and of Eisenstein et
al. (arXiv 2312.09244); scaled and margin Bradley-Terry: HelpSteer2-Preference (arXiv 2410.01257); squared error: SteerLM
(arXiv 2310.05344). Differs: a tie counts one half for each side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from pluralign.errors import ConfigError
from pluralign.losses.outputs import Judgements, Metrics, Outputs


@dataclass(frozen=True)
class BradleyTerry:
    """L = w [−log σ(Δ − margin·m)] + centring·(r_w + r_l)²,  Δ = r_w − r_l,  m how much better the winner is.

    A tie (m = 0) has ½[−log σ(Δ) − log σ(−Δ)] instead. `margin` ≥ 0: reward per unit of m that the winner has to lead
    by (0: plain). `scaled`: w = m instead of 1, so that a tie weighs nothing. `centring` ≥ 0: keeps rewards around 0
    (.01 in use; 0: off). Raises ConfigError for negative numbers, and when called without m where m is needed.
    """

    margin: float = 0.0
    scaled: bool = False
    centring: float = 0.0
    couples: ClassVar[Literal["pair", "prompt", "batch"]] = "pair"
    needs_reference: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name, value in (("margin", self.margin), ("centring", self.centring)):
            if not 0 <= value < float("inf"):
                raise ConfigError(f"bradley-terry: {name} must be a finite number from 0, got {value!r}")

    def __call__(self, outputs: Outputs, judgements: Judgements) -> tuple[Tensor, Metrics]:
        """(loss [P]; delta, accuracy: a tie counts ½)."""
        if bool((judgements.rejected < 0).any()):
            raise ConfigError("Bradley-Terry compares: it was given replies without an opponent; use regression")
        size = judgements.margin.float()
        if (self.margin or self.scaled) and bool(torch.isnan(size).any()):
            raise ConfigError(
                "margin and scaled need to know by how much the better reply is better, and a comparison does not say; "
                "leave them out, or give scores (or comparisons with a strength)"
            )
        won, lost = (
            outputs.logprobs[rows, judgements.condition].float() for rows in (judgements.chosen, judgements.rejected)
        )
        delta, tie = won - lost, size == 0
        lead = delta - self.margin * torch.nan_to_num(size)
        loss = torch.where(tie, (softplus(-delta) + softplus(delta)) / 2, softplus(-lead))
        if self.scaled:
            loss = loss * size
        if self.centring:
            loss = loss + self.centring * (won + lost) ** 2
        right = (delta > 0).float() + 0.5 * (delta == 0).float()
        return loss, {"delta": delta.detach(), "accuracy": torch.where(tie, torch.full_like(right, 0.5), right)}


@dataclass(frozen=True)
class SquaredError:
    """L = (r − v)², v the example's value (a score in the model's units); 0 for an example without one (NaN)."""

    couples: ClassVar[Literal["pair", "prompt", "batch"]] = "pair"
    needs_reference: ClassVar[bool] = False

    def __call__(self, outputs: Outputs, judgements: Judgements) -> tuple[Tensor, Metrics]:
        """(loss [P]; absolute error)."""
        found = outputs.logprobs[judgements.chosen, judgements.condition].float()
        wanted = judgements.margin.to(found)
        error = torch.where(torch.isnan(wanted), 0.0, found - torch.nan_to_num(wanted))
        return error**2, {"error": error.detach().abs()}


@dataclass(frozen=True)
class CrossEntropy:
    """L = − w log p(class), w the example's value: the share of the label that the class has (1 where none is given)."""

    couples: ClassVar[Literal["pair", "prompt", "batch"]] = "pair"
    needs_reference: ClassVar[bool] = False

    def __call__(self, outputs: Outputs, judgements: Judgements) -> tuple[Tensor, Metrics]:
        """(loss [P]; p of the class)."""
        found = outputs.logprobs[judgements.chosen, judgements.condition].float()
        share = torch.nan_to_num(judgements.margin, nan=1.0).to(found)
        return -share * found, {"probability": found.detach().exp()}

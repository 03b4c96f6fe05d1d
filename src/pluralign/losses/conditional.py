"""Conditional imitation: likelihood under a condition, kept near the reference and kept from narrowing.

    L(y) = Σ_t m_t [ − log π(y_t) + β KL_t − α H(π) ] / Σ_t m_t,        π = π_θ(. | c, x, y_<t)
    KL_t = KL(p_0 ‖ π)     kl = "forward": ALT (Abadal Lloret et al. 2024; methods.md A14)
    KL_t = KL(π ‖ p_0)     kl = "reverse": Quark (Lu et al. 2022, arXiv 2205.13636; A15)

p_0 is the reference after the unconditioned prompt, H the entropy; t runs over the response's tokens, end token
included. Both leave out the tokens that write a condition (`TokenOutputs`). m_t is 1, or the group's series "counted",
which leaves tokens out of the loss that stand inside a response without being one (Chain of Hindsight's feedback; A16).
α = β = 0 is plain conditional fine-tuning. Quark's code means over the tokens of a batch, not of a response.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pluralign.errors import ConfigError
from pluralign.losses.outputs import Judgements, Metrics, Outputs, TokenOutputs

COUNTED = "counted"
"""The series [N][tokens] of a group that says how much each token counts (0: not at all)."""


@dataclass(frozen=True)
class Conditional:
    """Nats per token. `beta` (β ≥ 0): weight of the KL to the reference; `alpha` (α ≥ 0): weight of the entropy; `kl`:
    its direction. Raises ConfigError for other values, and for a response without a token that counts."""

    beta: float = 0.0
    alpha: float = 0.0
    kl: Literal["forward", "reverse"] = "forward"
    couples: ClassVar[Literal["pair", "prompt", "batch"]] = "pair"
    view: ClassVar[str] = "tokens"

    def __post_init__(self) -> None:
        for name, value in (("beta", self.beta), ("alpha", self.alpha)):
            if not 0 <= value < float("inf"):
                raise ConfigError(f"conditional: {name} must be a finite number from 0, got {value!r}")
        if self.kl not in ("forward", "reverse"):
            raise ConfigError(f"conditional: kl is 'forward' or 'reverse', got {self.kl!r}")

    @property
    def needs_reference(self) -> bool:
        """Only for the KL."""
        return self.beta > 0

    def __call__(self, outputs: Outputs, judgements: Judgements) -> tuple[Tensor, Metrics]:
        """(loss [P], metrics per token: nll_token, entropy, and kl where β > 0)."""
        assert isinstance(outputs, TokenOutputs), "the view of this loss"
        counted = outputs.series.get(COUNTED)
        # a group without the series counts in full, beside groups that have it
        mass = torch.ones_like(outputs.entropy) if counted is None else counted.to(outputs.entropy).nan_to_num(1.0)
        chosen = judgements.chosen * outputs.logprobs.shape[1] + judgements.condition
        total = outputs.summed(mass)[chosen]
        if bool((total <= 0).any()):
            raise ConfigError("conditional: a response has no token that counts; check the series 'counted'")

        def mean(tokens: Tensor) -> Tensor:
            return outputs.summed(tokens * mass)[chosen] / total

        nll, entropy = mean(-outputs.token_logprobs), mean(outputs.entropy)
        metrics = {"nll_token": nll.detach(), "entropy": entropy.detach()}
        loss = nll - self.alpha * entropy
        if self.beta == 0:
            return loss, metrics
        distance = outputs.kl_forward if self.kl == "forward" else outputs.kl_reverse
        assert distance is not None, "computed for a loss that needs the reference"
        kl = mean(distance)
        return loss + self.beta * kl, {**metrics, "kl": kl.detach()}

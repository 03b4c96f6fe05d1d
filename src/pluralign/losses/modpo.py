"""MODPO: DPO on one objective's preferences, with what the other objectives say as a margin.

    L = −log σ( (1/w_k) [ β δ − m ] ),   δ = ρ(y_w) − ρ(y_l),   m = w_−k · ( r_−k(y_w) − r_−k(y_l) )

Source: Zhou et al. 2023, arXiv 2310.03708 (methods.md A6). Derivation: the optimum for Σ_i w_i r_i − β KL has
β log(π/π_ref) = w_k r_k + w_−k · r_−k − β log Z; solved for r_k and put into Bradley-Terry, log Z cancels. With w_k = 1
(so m = 0) it is DPO; with a margin that is the same for both replies, DPO with β/w_k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from pluralign.errors import ConfigError
from pluralign.losses.outputs import Judgements, Metrics, Outputs, check_positive, pair_log_ratios, pair_metrics


@dataclass(frozen=True)
class MODPO:
    """`beta` (β > 0): the KL strength of the implied objective (paper .1), in the units of the rewards; `weight` (w_k in
    [0, 1]): that of the objective whose preferences are learnt; `floor`: w_k is not taken to be less, since 1/w_k would
    explode. The margin m comes with the preference, in the units of the rewards; it may be below 0 (`Handicap`).

    Raises ConfigError for values out of range, and for preferences without a margin."""

    beta: float = 0.1
    weight: float = 1.0
    floor: float = 0.05
    couples: ClassVar[Literal["pair", "prompt", "batch"]] = "pair"
    needs_reference: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_positive("modpo", beta=self.beta, floor=self.floor)
        if not (0 <= self.weight <= 1 and self.floor <= 1):
            raise ConfigError(f"modpo: weight and floor are at most 1, got {self.weight!r} and {self.floor!r}")

    def __call__(self, outputs: Outputs, judgements: Judgements) -> tuple[Tensor, Metrics]:
        """(loss [P], metrics of `pair_metrics`, and the margin)."""
        rho_chosen, rho_rejected = pair_log_ratios(outputs, judgements)
        margin = judgements.margin.float()
        if bool(torch.isnan(margin).any()):
            raise ConfigError("modpo needs the margin of the other objectives with every preference (0 where w_k = 1)")
        h = (self.beta * (rho_chosen - rho_rejected) - margin) / max(self.weight, self.floor)
        return softplus(-h), {**pair_metrics(rho_chosen, rho_rejected, self.beta), "margin": margin}

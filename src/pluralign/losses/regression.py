"""Relative-reward regression: the log-ratio difference of two responses is fitted to their score difference.

    L = scale · Huber_d( δ − margin/τ ),    δ = ρ(y) − ρ(y') = log π_λ(y)/π_ref(y) − log π_λ(y')/π_ref(y')
    Huber_d(r) = r²/2 for |r| ≤ d, d·(|r| − d/2) beyond

Derivation. The optimum of E_π[λ·s] − τ KL(π‖π_ref) is π*_λ = π_ref exp(λ·s/τ) / Z_λ(x) (methods.md §1), so
ρ*(y) = λ·s(y)/τ − log Z_λ(x). The unknown log Z_λ(x) cancels between two responses of one prompt:
δ* = λ·(s(y) − s(y'))/τ, which is the target, with margin = λ·(s(y) − s(y')). So τ is the β of the KL-regularised
objective in the units of the scores, and unlike (c)DPO the *size* of a score difference is learnt, not only its sign.

Closest published relative: REBEL (Gao et al. 2024, arXiv 2404.16767, eq. 1), the squared regression
(1/η·δ − Δr)² on policy samples, iterated. Differs: offline pairs, a fixed reference, a condition λ, Huber, and the
residual measured in nats (their loss times 1/τ²).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from pluralign.errors import ConfigError
from pluralign.losses.outputs import Judgements, Metrics, Outputs, check_positive, pair_log_ratios, pair_metrics


@dataclass(frozen=True)
class Regression:
    """Huber regression of δ (nats) on margin/τ.

    `tau` (τ > 0): score points per nat, the β of the implied objective (.25 strong, .5 conservative in the lab).
    `huber` (d > 0): residual in nats beyond which the loss is linear. `scale`: a constant factor.
    Some texts write κ = 1/τ (nats per score point): `Regression.from_kappa`.
    Raises ConfigError for values ≤ 0, and when called with an unknown (NaN) margin: this loss needs scores.
    """

    tau: float = 0.25
    huber: float = 4.0
    scale: float = 0.05
    couples: ClassVar[Literal["pair", "prompt", "batch"]] = "pair"
    needs_reference: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_positive("regression", tau=self.tau, huber=self.huber, scale=self.scale)

    @classmethod
    def from_kappa(cls, kappa: float, huber: float = 4.0, scale: float = 0.05) -> Regression:
        """The same loss by κ = 1/τ > 0, the slope in nats per score point."""
        check_positive("regression", kappa=kappa)
        return cls(tau=1.0 / kappa, huber=huber, scale=scale)

    def __call__(self, outputs: Outputs, judgements: Judgements) -> tuple[Tensor, Metrics]:
        """(loss [P], metrics of `pair_metrics` with h = τ·δ in score points, and residual in nats)."""
        rho_chosen, rho_rejected = pair_log_ratios(outputs, judgements)
        if bool(torch.isnan(judgements.margin).any()):
            raise ConfigError(
                "the regression loss needs scores: a preference came without a margin. "
                "Give scores on every objective, or train on preferences alone with 'cdpo'"
            )
        delta = rho_chosen - rho_rejected
        target = judgements.margin.float() / self.tau
        loss = self.scale * huber_loss(delta, target, reduction="none", delta=self.huber)
        metrics = pair_metrics(rho_chosen, rho_rejected, self.tau)
        return loss, {**metrics, "residual": delta.detach() - target}

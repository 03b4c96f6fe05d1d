"""DPO and cDPO: one logistic family on h = β·δ, δ = ρ(y_w) − ρ(y_l).

    L(h) = −(1−ε) log σ(h) − ε log σ(−h) = (1−ε) softplus(−h) + ε softplus(h)

ε = 0 is DPO (Rafailov et al. 2023, arXiv 2305.18290, eq. 7); 0 < ε < ½ is conservative DPO (Mitchell 2023 note;
eq. 3.3 of the CMPO thesis). dL/dh = σ(h) − (1−ε): DPO has no finite optimum for an isolated pair, cDPO stops at
h = log((1−ε)/ε), whatever the strength of the preference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor
from torch.nn.functional import softplus

from pluralign.errors import ConfigError
from pluralign.losses.outputs import Judgements, Metrics, Outputs, check_positive, pair_log_ratios, pair_metrics


@dataclass(frozen=True)
class DPO:
    """Direct preference optimisation. `beta` (β > 0): the KL strength of the implied objective; usual .01 to .5."""

    beta: float = 0.1
    couples: ClassVar[Literal["pair", "prompt", "batch"]] = "pair"
    needs_reference: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_positive("dpo", beta=self.beta)

    def __call__(self, outputs: Outputs, judgements: Judgements) -> tuple[Tensor, Metrics]:
        """(loss [P], metrics of `pair_metrics`)."""
        return _logistic(outputs, judgements, self.beta, 0.0)


@dataclass(frozen=True)
class CDPO:
    """Conservative DPO. `beta` as in DPO; `label_smoothing` (ε in [0, ½)): the share of labels taken to be wrong.

    The defaults are those of the CMPO thesis. Raises ConfigError outside these ranges.
    """

    beta: float = 0.5
    label_smoothing: float = 0.1
    couples: ClassVar[Literal["pair", "prompt", "batch"]] = "pair"
    needs_reference: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_positive("cdpo", beta=self.beta)
        if not 0 <= self.label_smoothing < 0.5:
            raise ConfigError(f"cdpo: label_smoothing must be in [0, 0.5), got {self.label_smoothing!r}")

    def __call__(self, outputs: Outputs, judgements: Judgements) -> tuple[Tensor, Metrics]:
        """(loss [P], metrics of `pair_metrics`)."""
        return _logistic(outputs, judgements, self.beta, self.label_smoothing)


def _logistic(outputs: Outputs, judgements: Judgements, beta: float, epsilon: float) -> tuple[Tensor, Metrics]:
    rho_chosen, rho_rejected = pair_log_ratios(outputs, judgements)
    h = beta * (rho_chosen - rho_rejected)
    loss = (1 - epsilon) * softplus(-h) + epsilon * softplus(h)
    return loss, pair_metrics(rho_chosen, rho_rejected, beta)

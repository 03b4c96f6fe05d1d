"""BoNBoN: imitate the best of n replies of the reference, and hold the best and the worst as far apart as best-of-n does.

    L = − a log π_θ(y_best|x) + (1 − a) [δ − (n−1) H_{n−1}]²        form = "squared", the paper's
    L = − a log π_θ(y_best|x) − (1 − a) log σ(β_n δ)                form = "logistic", the public code's
    δ = ρ(y_best) − ρ(y_worst),   H_m = Σ_{k=1..m} 1/k,   β_n = 1 / (2 (n−1) H_{n−1})

The target is what best-of-n itself has: its density ratio is n F^(n−1), and of n uniform numbers E log max = −1/n and
E log min = −H_n, so that (n−1) E[log max − log min] = (n−1) H_{n−1}: 18.15 nats for n = 8. Log-probabilities are sums over
the response: the target is in those units, and dividing by lengths would ask for something else.

Source: Gui, Gârbacea, Veitch 2024, arXiv 2406.00832 (methods.md A20, J3); a = .005.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor
from torch.nn.functional import softplus

from pluralign.errors import ConfigError
from pluralign.losses.outputs import Judgements, Metrics, Outputs, pair_log_ratios, pair_metrics


@dataclass(frozen=True)
class BonBon:
    """`num`: n ≥ 2, of how many replies the two are best and worst (paper: 8). `share`: a in [0, 1], of the imitation
    (paper: .005). `form`: squared (paper) or logistic (public code). Raises ConfigError outside these ranges."""

    num: int = 8
    share: float = 0.005
    form: Literal["squared", "logistic"] = "squared"
    couples: ClassVar[Literal["pair", "prompt", "batch"]] = "pair"
    needs_reference: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.num < 2:
            raise ConfigError(f"bonbon: the best and the worst of num replies need at least 2, got {self.num}")
        if not 0 <= self.share <= 1:
            raise ConfigError(f"bonbon: share is in [0, 1], got {self.share!r}")
        if self.form not in ("squared", "logistic"):
            raise ConfigError(f"bonbon: form is 'squared' or 'logistic', got {self.form!r}")

    @property
    def target(self) -> float:
        """(n − 1) H_{n−1} nats: the expected log-ratio difference of best and worst under best-of-n."""
        return (self.num - 1) * sum(1 / k for k in range(1, self.num))

    @property
    def beta(self) -> float:
        """β_n, half the inverse of the target."""
        return 1 / (2 * self.target)

    def __call__(self, outputs: Outputs, judgements: Judgements) -> tuple[Tensor, Metrics]:
        """(loss [P], metrics of `pair_metrics` with h = β_n δ, and nll_sequence of the best in nats)."""
        rho_best, rho_worst = pair_log_ratios(outputs, judgements)
        delta = rho_best - rho_worst
        apart = (delta - self.target) ** 2 if self.form == "squared" else softplus(-self.beta * delta)
        nll = -outputs.logprobs.float()[judgements.chosen, judgements.condition]
        metrics = {**pair_metrics(rho_best, rho_worst, self.beta), "nll_sequence": nll.detach()}
        return self.share * nll + (1 - self.share) * apart, metrics

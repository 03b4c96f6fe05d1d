"""SteerLM 2.0: a conditioned model is drawn to the Bayes posterior, by samples of a model Q' that is near it.

    w_i ∝ P(a|x, y_i) P(y_i|x) / Q'(y_i|a, x),     b_i ∝ Q_θ(y_i|a, x) / Q'(y_i|a, x),     Σ w' = Σ b' = 1 over a prompt
    L = KL(w' ‖ b') = Σ_i w'_i log(w'_i / b'_i),   ∇L = − Σ_i (w'_i − b'_i) ∇ log Q_θ(y_i|a, x)

an estimate of the gradient of KL(P(·|a, x) ‖ Q_θ(·|a, x)), of which only the posterior is a zero for all samples.

Source: Wang et al. 2024, arXiv 2406.08673 (section 4.5; methods.md A10). w depends on whole sequences, and so may rest
on one sample; `temper` T > 1 takes w^(1/T) instead (not in the paper).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from pluralign.errors import ConfigError
from pluralign.losses.outputs import Judgements, Metrics, Outputs, check_positive


@dataclass(frozen=True)
class PosteriorKL:
    """KL(w' ‖ b') in nats over the samples of a prompt, which all were drawn under one condition.

    A sample is judged under that condition twice: the group's value is log w_i in the first column and log Q'(y_i|a, x)
    in the second (nats). Raises ConfigError for samples without these values, and unless `temper` is above 0.
    """

    temper: float = 1.0
    couples: ClassVar[Literal["pair", "prompt", "batch"]] = "prompt"
    needs_reference: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_positive("steerlm2", temper=self.temper)

    def __call__(self, outputs: Outputs, judgements: Judgements) -> tuple[Tensor, Metrics]:
        """(loss [P]: its prompt's KL for each example; metrics: kl, and samples, the effective number 1 / Σ w'²)."""
        samples, place = _distinct(judgements.chosen)
        first = judgements.condition == 0
        log_w, drawn = judgements.margin.new_full((2, len(samples)), torch.nan)
        log_w[place[first]] = judgements.margin[first] / self.temper
        drawn[place[~first]] = judgements.margin[~first]
        if bool(torch.isnan(log_w + drawn).any()) or bool((judgements.condition > 1).any()):
            raise ConfigError("steerlm2 learns from samples with two values each: log w and log Q'")
        groups = outputs.lengths.new_zeros(len(outputs.lengths)) if outputs.groups is None else outputs.groups
        prompts, prompt = _distinct(groups[samples])
        own = _log_shares(log_w, prompt, len(prompts))
        other = _log_shares(outputs.logprobs.float()[samples, 0] - drawn, prompt, len(prompts))
        kl = _summed(own.exp() * (own - other), prompt, len(prompts))[prompt[place]]
        effective = 1 / _summed((2 * own).exp(), prompt, len(prompts))[prompt[place]]
        return kl, {"kl": kl.detach(), "samples": effective}


def _log_shares(values: Tensor, owner: Tensor, num: int) -> Tensor:
    """The log-softmax of values [S] among those of the same owner [S]."""
    top = values.new_full((num,), -torch.inf).scatter_reduce(0, owner, values.detach(), "amax")[owner]
    return values - top - _summed((values - top).exp(), owner, num).log()[owner]


def _summed(values: Tensor, owner: Tensor, num: int) -> Tensor:
    """Sums [num] of the values of each owner."""
    return values.new_zeros(num).index_add(0, owner, values)


def _distinct(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """(the distinct values, ascending; the place of each number among them)."""
    untyped: Any = numbers
    values, places = untyped.unique(return_inverse=True)
    return values, places

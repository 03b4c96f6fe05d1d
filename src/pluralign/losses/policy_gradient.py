"""Policy gradient: raise the log-probability of what did better than expected, lower that of what did worse.

    L(y) = − A(y) log π_θ(y|x, c)          ∇L = − A(y) ∇ log π_θ(y|x, c)

A is the advantage of a sampled reply, a number that its group carries (`Group.values`): the return G minus a baseline
(REINFORCE; RLOO, Ahmadian et al. 2024, arXiv 2402.14740). With G = R − β ρ the KL to the reference is inside the return
and needs no term of its own, since E[∇ log π] = 0 (methods.md C2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pluralign.errors import ConfigError
from pluralign.losses.outputs import Judgements, Metrics, Outputs, log_ratios


@dataclass(frozen=True)
class PolicyGradient:
    """−A · log π(y) in nats, summed over the response's tokens. Raises ConfigError for replies without an advantage."""

    couples: ClassVar[Literal["pair", "prompt", "batch"]] = "pair"
    needs_reference: ClassVar[bool] = True  # for the metric ρ

    def __call__(self, outputs: Outputs, judgements: Judgements) -> tuple[Tensor, Metrics]:
        """(loss [P], metrics: advantage, and rho, whose mean estimates the KL to the reference)."""
        if bool(torch.isnan(judgements.margin).any()):
            raise ConfigError("a policy gradient needs an advantage for every reply: groups with values")
        chosen = judgements.chosen, judgements.condition
        advantage = judgements.margin.float()
        loss = -advantage * outputs.logprobs.float()[chosen]
        return loss, {"advantage": advantage, "rho": log_ratios(outputs).detach()[chosen]}

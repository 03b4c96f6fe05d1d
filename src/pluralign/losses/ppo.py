"""PPO: raise the log-probability of tokens that did better than expected, no further than a step away from the sampler.

    L(y) = − Σ_t min( u_t A_t, clip(u_t, 1 − ε, 1 + ε) A_t ),   u_t = π_θ(y_t | x, y_<t) / π_old(y_t | x, y_<t)

Source: Schulman et al. 2017, arXiv 1707.06347, eq. 7 (methods.md C3). A_t and log π_old come with the reply, a number for
each token (`Group.series`: advantage, old). At u = 1 the gradient is the policy gradient's. The value function is no
part of this loss (`methods/steps/proximal.py` says where it is).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pluralign.errors import ConfigError
from pluralign.losses.outputs import Judgements, Metrics, Outputs, TokenOutputs

ADVANTAGE, OLD, LOG_RATIO = "advantage", "old", "log_ratio"
"""Names of series; the last one, log π_old − log π_ref, is only reported."""


@dataclass(frozen=True)
class PPO:
    """`clip` (ε in (0, 1)): how far a token's probability may move from the sampler's, as a share (paper .2).

    Raises ConfigError outside that range, and for replies without advantages and the sampler's log-probabilities."""

    clip: float = 0.2
    couples: ClassVar[Literal["pair", "prompt", "batch"]] = "pair"
    needs_reference: ClassVar[bool] = False  # the distance to it is in the advantages
    view: ClassVar[Literal["tokens"]] = "tokens"

    def __post_init__(self) -> None:
        if not 0 < self.clip < 1:
            raise ConfigError(f"ppo: clip must be between 0 and 1, got {self.clip!r}")

    def __call__(self, outputs: Outputs, judgements: Judgements) -> tuple[Tensor, Metrics]:
        """(loss [P], summed over the tokens of a reply; metrics, summed as well: clipped, tokens that were held back;
        moved, log u in nats; rho, the sampler's distance to the reference in nats, where it is known)."""
        assert isinstance(outputs, TokenOutputs), "a loss over tokens"
        missing = {ADVANTAGE, OLD} - set(outputs.series)
        if missing or any(bool(torch.isnan(outputs.series[name]).any()) for name in (ADVANTAGE, OLD)):
            raise ConfigError("ppo needs an advantage and the sampler's log-probability of every token, as series")
        advantage = outputs.series[ADVANTAGE].to(outputs.token_logprobs)
        moved = outputs.token_logprobs - outputs.series[OLD].to(outputs.token_logprobs)
        free = moved.exp() * advantage
        gain = torch.minimum(free, moved.exp().clamp(1 - self.clip, 1 + self.clip) * advantage)
        told = {"clipped": (gain < free).float(), "moved": moved, "rho": outputs.series.get(LOG_RATIO)}
        chosen = judgements.chosen * outputs.logprobs.shape[1] + judgements.condition
        metrics = {
            name: outputs.summed(each.detach().to(gain))[chosen] for name, each in told.items() if each is not None
        }
        return -outputs.summed(gain)[chosen], metrics

"""SFT: imitate responses by maximum likelihood.

    L(y) = − log π_θ(y|x, λ) / |y|        reduction = "token", the default
    L(y) = − log π_θ(y|x, λ)              reduction = "sequence"

|y| counts the response's tokens, end token included. The batch loss is the mean over *examples*: with "token" a
short response weighs as much as a long one (a mean over all tokens of the batch would weigh by length).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from pluralign.errors import ConfigError
from pluralign.losses.outputs import Judgements, Metrics, Outputs


@dataclass(frozen=True)
class SFT:
    """Negative log-likelihood in nats of every chosen (or imitated) response; opponents are ignored.

    `reduction`: "token" divides by the response's length, "sequence" sums. Raises ConfigError for another word.
    """

    reduction: Literal["token", "sequence"] = "token"
    couples: ClassVar[Literal["pair", "prompt", "batch"]] = "pair"
    needs_reference: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.reduction not in ("token", "sequence"):
            raise ConfigError(f"sft: reduction is 'token' or 'sequence', got {self.reduction!r}")

    def __call__(self, outputs: Outputs, judgements: Judgements) -> tuple[Tensor, Metrics]:
        """(loss [P], metrics: nll_token and nll_sequence in nats)."""
        nll = -outputs.logprobs.float()[judgements.chosen, judgements.condition]
        per_token = nll / outputs.lengths.float()[judgements.chosen]
        metrics = {"nll_token": per_token.detach(), "nll_sequence": nll.detach()}
        return (per_token if self.reduction == "token" else nll), metrics

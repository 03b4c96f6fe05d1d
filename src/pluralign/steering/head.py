"""The LM head as a function of many coefficients at once.

What follows the head's matrix in some families (a bias, a scale, a soft-cap) is its epilogue. It comes after the
mix: mixing logits equals mixing weights only before it.

Letters: N tokens (response positions of all rows), R rows, L conditions of a row, V vocabulary, C coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pluralign.steering.deltas import PluralLinear, sizes
from pluralign.steering.terms import Workspace

CHUNK_NUMBERS = 1 << 25
"""Logits (tokens x conditions x vocabulary) held at once; beyond it, chunks are recomputed in backward."""


@dataclass(frozen=True, slots=True)
class Epilogue:
    """logits -> soft_cap · tanh(scale · logits / soft_cap); each part optional."""

    scale: float = 1.0
    soft_cap: float | None = None

    def __call__(self, logits: Float[Tensor, "*N V"]) -> Float[Tensor, "*N V"]:
        """[..., V] -> [..., V]."""
        if self.scale != 1.0:
            logits = logits * self.scale
        return logits if self.soft_cap is None else self.soft_cap * torch.tanh(logits / self.soft_cap)


def epilogue_of(config: Any) -> Epilogue:
    """What a Hugging Face config says comes after the head (Cohere, Granite, Gemma-2/3, MiniCPM3 and their kin)."""
    scale = float(getattr(config, "logit_scale", None) or 1.0)
    divisor = getattr(config, "logits_scaling", None)
    if divisor:
        scale /= float(divisor)
    return Epilogue(scale, getattr(config, "final_logit_softcapping", None))


@dataclass(frozen=True)
class Head:
    """The output layer (plain or plural) and its epilogue; at most `chunk_numbers` logits exist at once.

    This is the plain path, by autograd; `fused.py` is the fast one, of the same result. `workspace`: its buffers.
    """

    layer: nn.Module
    epilogue: Epilogue = Epilogue()
    chunk_numbers: int = CHUNK_NUMBERS
    workspace: Workspace = field(default_factory=Workspace, repr=False, compare=False)

    @property
    def vocabulary_size(self) -> int:
        """V."""
        return sizes(self.layer.base if isinstance(self.layer, PluralLinear) else self.layer)[0]

    @property
    def dtype(self) -> torch.dtype:
        """Of its base matrix."""
        base = self.layer.base if isinstance(self.layer, PluralLinear) else self.layer
        return base.weight.dtype  # type: ignore[return-value]

    def logits(self, hidden: Float[Tensor, "*N d"], rows: Float[Tensor, "*#N C"]) -> Float[Tensor, "*N V"]:
        """Logits under coefficients: hidden [..., d], rows [..., C] (broadcastable) -> [..., V]."""
        mixed = self.layer.mix(hidden, rows) if isinstance(self.layer, PluralLinear) else self.layer(hidden)
        return self.epilogue(mixed)

    def token_logprobs(
        self,
        hidden: Float[Tensor, "N d"],
        targets: Int[Tensor, " N"],
        coefficients: Float[Tensor, "R L C"],
        rows: Int[Tensor, " N"],
    ) -> Float[Tensor, "N L"]:
        """log p(target | hidden, λ) in nats, float32 [N, L].

        hidden [N, d], targets [N], coefficients [R, L, C], rows [N] (the row a token belongs to). Tokens are taken
        in chunks, which are recomputed in backward.
        """
        num_conditions = coefficients.shape[1]
        size = max(1, self.chunk_numbers // (num_conditions * self.vocabulary_size))
        if len(targets) <= size:
            return self._chunk(hidden, targets, coefficients, rows)
        parts = []
        for start in range(0, len(targets), size):
            part = slice(start, start + size)
            parts.append(
                checkpoint(self._chunk, hidden[part], targets[part], coefficients, rows[part], use_reentrant=False)
            )
        return torch.cat(parts)

    def _chunk(self, hidden: Tensor, targets: Tensor, coefficients: Tensor, rows: Tensor) -> Tensor:
        return torch.stack(
            [target_logprobs(logits, targets) for logits in self._per_condition(hidden, coefficients, rows)], dim=1
        )

    def _per_condition(self, hidden: Tensor, coefficients: Tensor, rows: Tensor) -> list[Tensor]:
        """Logits [N, V] of each of the L conditions; the base (and shared) product is made once for all."""
        if not isinstance(self.layer, PluralLinear):
            return [self.epilogue(self.layer(hidden))] * coefficients.shape[1]
        if self.layer.objectives is None or not _same_but_weights(coefficients):
            return [self.logits(hidden, shares[rows]) for shares in coefficients.unbind(1)]
        shared = self.layer.common(hidden, coefficients[rows, 0])
        return [
            self.epilogue(shared + self.layer.objectives(hidden, shares[rows]))
            for shares in coefficients[..., :-2].unbind(1)
        ]


def _same_but_weights(coefficients: Tensor) -> bool:
    return bool((coefficients[:, :, -2:] == coefficients[:, :1, -2:]).all())


def target_logprobs(logits: Float[Tensor, "N V"], targets: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """log softmax(logits)[target]: logits [N, V], targets [N] -> float32 [N]."""
    wide = logits.float()
    return wide.gather(-1, targets[:, None])[:, 0] - torch.logsumexp(wide, dim=-1)

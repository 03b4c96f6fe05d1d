"""Averaged factors: A and B of the changes are mixed apart, and multiplied afterwards.

    ΔW = (Σ_c a_c B_c)(Σ_c a_c A_c) = Σ_c Σ_d a_c a_d B_c A_d

What the public code of personalised soups does with LoRA's matrices (Jang et al. 2023, arXiv 2310.11564; methods.md A5,
A4): the exact mix Σ_c a_c B_c A_c (`deltas.py`) has none of the terms between two experts, but its rank is the sum of
theirs. All A start alike, as those of experts do that are trained apart from one seed; terms between experts whose A
have nothing in common would be noise.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from pluralign.errors import ConfigError
from pluralign.steering.deltas import Deltas


class AveragedDeltas(Deltas):
    """`num` low-rank changes, mixed factor by factor; one asked for alone with share 1 is itself."""

    additive: ClassVar[bool] = False

    def __init__(self, num: int, out_size: int, in_size: int, rank: int | None, scale: float = 1.0) -> None:
        if rank is None:
            raise ConfigError("factors are averaged where changes have factors: set steering.rank to a number")
        super().__init__(num, out_size, in_size, rank, scale)
        with torch.no_grad():
            self.down.copy_(self.down[:1].clone().expand_as(self.down))

    def forward(
        self, inputs: Float[Tensor, "*N {self.in_size}"], shares: Float[Tensor, "*#N {self.num}"]
    ) -> Float[Tensor, "*N {self.out_size}"]:
        """The module's equation: inputs [..., in], shares [..., num] (broadcastable) -> [..., out]."""
        kind = inputs.dtype
        down, up, shares = self._asked(shares.to(kind))
        inner = functional.linear(inputs, down.to(kind).flatten(0, 1)).unflatten(-1, (len(down), -1))
        mixed = (inner * shares[..., None]).sum(-2, keepdim=True) * self.scale
        return functional.linear((mixed * shares[..., None]).flatten(-2), up.to(kind).transpose(0, 1).flatten(1))

    def factors(self, shares: Float[Tensor, " {self.num}"]) -> tuple[Tensor, Tensor]:
        """(A [r, in], B [out, r]) whose product is the change under shares [num]."""
        return torch.einsum("j,jri->ri", shares, self.down), torch.einsum("j,jor->or", shares * self.scale, self.up)

    def mixed(self, shares: Float[Tensor, " {self.num}"]) -> Float[Tensor, "{self.out_size} {self.in_size}"]:
        """The matrix ΔW [out, in] under shares [num] (float32 or wider)."""
        down, up = self.factors(shares)
        return up @ down

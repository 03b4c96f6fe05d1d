"""Offsets: a change that is a vector added to a layer's output, one per objective, whatever the layer is given.

    y = W_0 x + Σ_j λ_j u_j

On the linear layer that ends a block of the decoder this adds Σ_j λ_j u_j to the residual stream (methods.md A22).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pluralign.errors import ModelError
from pluralign.steering.deltas import Deltas


class Offsets(Deltas):
    """`num` vectors [num, out], zero at first."""

    def __init__(self, num: int, out_size: int) -> None:
        nn.Module.__init__(self)
        self.num, self.rank, self.scale, self.out_size, self.in_size = num, 0, 1.0, out_size, 0
        self.offset = nn.Parameter(torch.zeros(num, out_size))

    def forward(self, inputs: Tensor, shares: Float[Tensor, "*#N {self.num}"]) -> Float[Tensor, "*N {self.out_size}"]:
        """Σ_j shares_j u_j: shares [..., num] -> [..., out]."""
        return shares.to(inputs.dtype) @ self.offset.to(inputs.dtype)

    def mixed(self, shares: Float[Tensor, " {self.num}"]) -> Tensor:
        """ModelError: no matrix does what a vector on the output does."""
        raise ModelError(
            "a steering vector is added to hidden states and is no part of the weights; keep the policy folder"
        )

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """offset [num, out]."""
        return {"offset": tuple(self.offset.shape)}

    def stacked(self) -> dict[str, Tensor]:
        """The vectors, detached."""
        return {"offset": self.offset.detach()}


def blocks_of(model: Any) -> Sequence[nn.Module]:
    """The decoder's blocks: its longest list of modules. ModelError where it has none."""
    lists: list[nn.ModuleList] = [
        module for module in model.get_decoder().modules() if isinstance(module, nn.ModuleList)
    ]
    if not lists:
        raise ModelError(f"found no blocks in {type(model).__name__}")
    return list(lists[max(range(len(lists)), key=lambda place: len(lists[place]))])


def tensor_of(output: Any) -> Tensor:
    """A copy of the hidden states [R, T, d] that a block gives, alone or first of several."""
    return (output[0] if isinstance(output, tuple) else output).clone()

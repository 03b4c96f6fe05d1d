"""Ranks of a LoRA: servers that keep a buffer per rank take only some; zeros fill a LoRA up to the next of them."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.errors import ConfigError, ModelError

Factors = dict[str, tuple[Tensor, Tensor]]
"""A [r, in] and B [out, r] of every changed layer, by its name"""
RankKind = Literal["legal", "natural"]
LEGAL = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes for --max-lora-rank (0.33)."""


def legal_rank(rank: int) -> int:
    """The smallest rank of LEGAL that holds `rank`. ModelError, with the ways out, where there is none."""
    for allowed in LEGAL:
        if rank <= allowed:
            return allowed
    raise ModelError(
        f"the adapter has rank {rank}, and vLLM takes {LEGAL[-1]} at most; export a whole model (format merged), train "
        "with a smaller rank, or keep the natural rank (--rank natural) for programs that take any"
    )


def chosen_rank(rank: int, kind: RankKind) -> int:
    """`rank` itself, or the next legal one. ConfigError for another kind."""
    if kind not in ("legal", "natural"):
        raise ConfigError(f"rank is 'legal' (filled up with zeros to one that vLLM takes) or 'natural', got {kind!r}")
    return legal_rank(rank) if kind == "legal" else rank


def filled(
    down: Float[Tensor, "r i"], up: Float[Tensor, "o r"], rank: int
) -> tuple[Float[Tensor, "{rank} i"], Float[Tensor, "o {rank}"]]:
    """A [r, in] and B [out, r] with rows and columns of zeros up to `rank`: the product stays what it is."""
    more = rank - down.shape[0]
    return (
        torch.cat([down, down.new_zeros(more, down.shape[1])]),
        torch.cat([up, up.new_zeros(up.shape[0], more)], dim=1),
    )

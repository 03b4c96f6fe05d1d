"""The head while decoding: one hidden state for each row, each under coefficients of its own.

    low-rank changes       z = W_0 h + [λ_1 A_1 h, .., λ_k A_k h] [B_1, .., B_k]ᵀ     one thin product for all rows
    full changes           z = W_0 h + Σ_j (λ_j h) ΔW_jᵀ                              only those that some row asks for

The factors are laid out once, when decoding begins; so a head is good until its weights change.
Letters: R rows, d hidden width, V vocabulary, C coefficients.
"""

from __future__ import annotations

from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from pluralign.steering.deltas import Deltas, PluralLinear
from pluralign.steering.head import Head


class _Change(Protocol):
    def add_to(self, logits: Tensor, hidden: Tensor, shares: Tensor) -> None: ...


class DecodingHead:
    """`Head.logits` of the same head, faster for one token of every row; no gradient."""

    def __init__(self, head: Head) -> None:
        self.head = head
        layer = head.layer
        self.changes: list[tuple[slice, _Change]] = []
        if isinstance(layer, PluralLinear):
            parts = ((layer.objectives, slice(0, -2)), (layer.shared, slice(-2, -1)))
            self.changes = [(part, _change(deltas)) for deltas, part in parts if deltas is not None]

    @torch.no_grad()
    def logits(self, hidden: Float[Tensor, "R d"], rows: Float[Tensor, "R C"]) -> Float[Tensor, "R V"]:
        """Logits under coefficients: hidden [R, d], rows [R, C] -> [R, V]."""
        layer = self.head.layer
        if not isinstance(layer, PluralLinear):
            return self.head.epilogue(layer(hidden))
        logits = layer.base(hidden)
        if layer.objectives is not None and bool((rows[:, -1] != 1).any()):
            logits = logits * rows[:, -1:].to(logits)
        for part, change in self.changes:
            change.add_to(logits, hidden, rows[:, part].to(hidden))
        return self.head.epilogue(logits)


class _Low:
    """Changes of low rank: A of all side by side [Σ r, d], B likewise [Σ r, V]."""

    def __init__(self, deltas: Deltas) -> None:
        self.rank, self.scale = deltas.down.shape[1], deltas.scale
        self.down = deltas.down.detach().flatten(0, 1)
        self.up = deltas.up.detach().transpose(1, 2).flatten(0, 1).contiguous()

    def add_to(self, logits: Tensor, hidden: Tensor, shares: Tensor) -> None:
        """logits [R, V] += Σ_j shares_j B_j A_j h."""
        inner = hidden @ self.down.to(hidden).T
        inner *= (shares * self.scale).repeat_interleave(self.rank, dim=1)
        logits.addmm_(inner, self.up.to(hidden))


class _Full:
    """Changes of full size, one product for each that is asked for."""

    def __init__(self, deltas: Deltas) -> None:
        self.deltas = deltas

    def add_to(self, logits: Tensor, hidden: Tensor, shares: Tensor) -> None:
        """logits [R, V] += Σ_j shares_j ΔW_j h."""
        for place in (shares != 0).any(0).nonzero()[:, 0].tolist():
            logits.addmm_(hidden * (shares[:, place, None] * self.deltas.scale), self.deltas.full[place].to(hidden).T)


class _Whole:
    """Changes that are no sum of terms (`averaged.py`): as in training."""

    def __init__(self, deltas: Deltas) -> None:
        self.deltas = deltas

    def add_to(self, logits: Tensor, hidden: Tensor, shares: Tensor) -> None:
        """logits [R, V] += the change of each row."""
        logits.add_(self.deltas(hidden, shares))


def _change(deltas: Deltas) -> _Change:
    if not deltas.additive:
        return _Whole(deltas)
    return _Full(deltas) if deltas.rank is None else _Low(deltas)

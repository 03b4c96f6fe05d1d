"""Hidden states brought to where a contrast points.

    L(y) = mean over layers l and tokens t of ‖ h_l^own − ( h_l^base + a (h_l^good − h_l^bad) ) ‖₂

Source: representation alignment from human feedback (RAHF), Liu et al. 2023, arXiv 2312.15997 (methods.md A22), step 3;
only h^own is differentiated. A response is judged under four conditions in this order: own, good, bad, base.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pluralign.errors import ConfigError
from pluralign.losses.outputs import Judgements, Metrics, Outputs, StateOutputs, check_positive

SIDES = 4


@dataclass(frozen=True)
class HiddenContrast:
    """`layers`: blocks whose states are compared; `amount` (a > 0): how far along the contrast (paper: 5); `positions`:
    the last tokens of a response that count (paper: 64)."""

    layers: tuple[int, ...]
    amount: float = 5.0
    positions: int = 64
    couples: ClassVar[Literal["pair", "prompt", "batch"]] = "pair"
    needs_reference: ClassVar[bool] = False
    view: ClassVar[str] = "states"

    def __post_init__(self) -> None:
        check_positive("hidden contrast", amount=self.amount, positions=self.positions)
        if not self.layers:
            raise ConfigError("hidden contrast: name at least one layer")

    def __call__(self, outputs: Outputs, judgements: Judgements) -> tuple[Tensor, Metrics]:
        """(loss [P]: that of a response stands at its first condition, times 4, the others are 0; metrics: distance)."""
        if not isinstance(outputs, StateOutputs) or outputs.logprobs.shape[1] != SIDES:
            raise ConfigError("hidden contrast compares four conditions of a response: own, good, bad, base")
        own, good, bad, base = (outputs.states[outputs.rows % SIDES == side] for side in range(SIDES))
        target = (base + self.amount * (good - bad)).detach()
        distance = (own - target).float().norm(dim=-1).mean(-1)
        rows = outputs.rows[outputs.rows % SIDES == 0] // SIDES
        left = _from_the_end(rows, outputs.lengths)
        counted = (left < self.positions).float()
        num = len(outputs.lengths)
        sums, sizes = (distance.new_zeros(num).index_add(0, rows, each) for each in (distance * counted, counted))
        mean = sums / sizes.clamp_min(1.0)
        first = judgements.condition == 0
        loss = torch.where(first, SIDES * mean[judgements.chosen], 0.0)
        return loss, {"distance": mean.detach()[judgements.chosen]}


def _from_the_end(rows: Tensor, lengths: Tensor) -> Tensor:
    """How many tokens of its response follow each token [n]; rows [n] ascending, lengths [R]."""
    ends = lengths.to(rows.device).cumsum(0)
    return ends[rows] - 1 - torch.arange(len(rows), device=rows.device)

"""How matrices lie in memory while tokens are decoded on a CPU.

y = x Wᵀ with a few rows x reads W once, and a CPU's matrix product is up to twice as fast where Wᵀ, not W, is the
contiguous one. Only the strides change: every shape and number stays, and so does what is saved.
"""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def lay_out(model: nn.Module) -> int:
    """Lay the matrices of linear layers on the CPU out for small batches, in place; how many were.

    For a model that only decodes from now on: training steps have many rows, and gain nothing.
    """
    num = 0
    for module in model.modules():
        if isinstance(module, nn.Linear) and module.weight.device.type == "cpu" and module.weight.is_contiguous():
            module.weight.data = module.weight.data.t().contiguous().t()
            num += 1
    return num

"""oneDNN instead of the default library for a model's matrix products, where a short measurement finds it faster."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from pluralign.bench.flops import onednn
from pluralign.bench.timing import Clock

GAIN = 1.1  # what it must win to be used


def onednn_is_faster(width: int, inner: int, repeats: int = 7) -> bool:
    """Whether oneDNN beats torch's own product on the shapes of a layer (CPU, float32)."""
    if not torch.backends.mkldnn.is_available():
        return False
    clock, tokens, weight = Clock(), torch.randn(1024, width), torch.randn(inner, width)
    own = statistics.median(clock(lambda: torch.mm(tokens, weight.t())) for _ in range(repeats))
    other = statistics.median(clock(lambda: onednn(tokens, weight)) for _ in range(repeats))
    return own > GAIN * other


class _Product(torch.autograd.Function):
    """x Wᵀ and its gradients by oneDNN."""

    @staticmethod
    def forward(context: Any, inputs: Tensor, weight: Tensor) -> Tensor:
        context.save_for_backward(inputs, weight)
        return onednn(inputs, weight)

    @staticmethod
    def backward(context: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        inputs, weight = context.saved_tensors
        (grad,) = grads
        rows = grad.flatten(0, -2)
        to_inputs = onednn(rows, weight.t()).view_as(inputs) if context.needs_input_grad[0] else None
        columns = inputs.flatten(0, -2)
        to_weight = onednn(rows.t().contiguous(), columns.t()) if context.needs_input_grad[1] else None
        return to_inputs, to_weight


def _forward(layer: nn.Linear, inputs: Tensor) -> Tensor:
    product: Tensor = _Product.apply(inputs, layer.weight)
    return product if layer.bias is None else product + layer.bias


class _TorchWithOnednn:
    """The torch module as TRL's chunked head sees it, its `mm` by oneDNN."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    @staticmethod
    def mm(left: Tensor, right: Tensor, out: Tensor) -> Tensor:
        """left [N, d] times right [d, V] into `out`."""
        return out.copy_(onednn(left, right.t()))


@contextlib.contextmanager
def onednn_products(model: nn.Module) -> Iterator[None]:
    """Every nn.Linear of the model, and TRL's head, multiply by oneDNN while the context is open."""
    from trl.kernels import chunked_logprob as kernel

    layers = [module for module in model.modules() if type(module) is nn.Linear]
    before = kernel.torch, kernel._addmm_fp32
    for layer in layers:
        layer.forward = MethodType(_forward, layer)  # type: ignore[method-assign]
    kernel.torch, kernel._addmm_fp32 = _TorchWithOnednn(), _add_product  # type: ignore[assignment]
    try:
        yield
    finally:
        kernel.torch, kernel._addmm_fp32 = before
        for layer in layers:
            del layer.forward


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left right (the fp32 form of TRL's `_addmm_fp32`)."""
    total += onednn(left.float().contiguous(), right.float().t())

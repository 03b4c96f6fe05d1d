"""Tensors by GGUF's names, and the order of rows that llama.cpp's rotation of positions expects.

Hugging Face's Llama turns the pair (i, i + d/2) of a head's d numbers, llama.cpp's the pair (2i, 2i + 1): the rows of
the queries' and keys' projections change places, and attention stays what it is. Qwen2 is turned there as here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pluralign.errors import ModelError
from pluralign.export.gguf_options import ARCHITECTURES

Array = NDArray[Any]
LARGEST_HALF = 65504.0


class Layers:
    """Names and row orders of one model."""

    def __init__(self, config: Any) -> None:
        import gguf

        self.architecture = ARCHITECTURES[config.model_type]
        kind = {"llama": gguf.MODEL_ARCH.LLAMA, "qwen2": gguf.MODEL_ARCH.QWEN2}[self.architecture]
        self.names = gguf.get_tensor_name_map(kind, config.num_hidden_layers)
        heads = config.num_attention_heads
        self.heads = {"q_proj": heads, "k_proj": getattr(config, "num_key_value_heads", None) or heads}

    def name(self, name: str) -> str:
        """GGUF's name of a parameter (with .weight or .bias); ModelError for one that GGUF has no place for."""
        module, _, kind = name.rpartition(".")
        found = self.names.get_name(module)
        if found is None:
            raise ModelError(f"GGUF's {self.architecture} has no place for {name}")
        return f"{found}.{kind}"

    def turned(self, name: str, rows: Array) -> Array:
        """The rows [out, ...] of a parameter in llama.cpp's order."""
        heads = self._heads(name)
        return rows if heads is None else _swapped(rows, heads, 2)

    def turned_back(self, name: str, rows: Array) -> Array:
        """The inverse of `turned`."""
        heads = self._heads(name)
        return rows if heads is None else _swapped(rows, heads, rows.shape[0] // heads // 2)

    def _heads(self, name: str) -> int | None:
        """How many heads a parameter's rows belong to, where they change places."""
        module = name.rpartition(".")[0].rpartition(".")[2]
        return self.heads.get(module) if self.architecture == "llama" else None


def _swapped(rows: Array, heads: int, inner: int) -> Array:
    """[heads, inner, rest, ...] -> [heads, rest, inner, ...], flat again."""
    parts = rows.reshape(heads, inner, -1, *rows.shape[1:])
    return np.ascontiguousarray(parts.swapaxes(1, 2).reshape(rows.shape))


def numbers(tensor: Tensor, kind: str) -> Array:
    """A parameter as GGUF keeps it: matrices in `kind` (f32 or f16), vectors in f32. ModelError beyond f16's range."""
    wide: Array = tensor.detach().to("cpu", torch.float32).numpy()
    if kind == "f32" or wide.ndim < 2:
        return wide
    if np.abs(wide).max(initial=0.0) > LARGEST_HALF:
        raise ModelError(f"a weight is {np.abs(wide).max():.3g}, and f16 ends at {LARGEST_HALF:g}; write f32")
    return wide.astype(np.float16)

"""Vector steering: the condition enters the hidden states, h_l ← h_l + Σ_i c_i u_l^(i) after chosen blocks l.

Source: static steering vectors beside representation alignment (Liu et al. 2023, arXiv 2312.15997; methods.md A22). The
vector is added to what the last linear layer of a block gives to the residual stream; `attach` tries out that the block's
output moves by it and by nothing else, and refuses models where a norm stands between.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pluralign.data.condition import Condition
from pluralign.data.objective import Objective
from pluralign.encoding import Encoder
from pluralign.errors import ConfigError, ModelError
from pluralign.steering.deltas import PluralLinear, is_linear, sizes
from pluralign.steering.offsets import Offsets, blocks_of, tensor_of
from pluralign.steering.surgery import DeltaSpec, install
from pluralign.steering.weighted import ByWeights


@dataclass
class VectorSteering(ByWeights):
    """A vector per objective and block; weights outside the simplex and strengths scale them."""

    kind: ClassVar[str] = "vectors"

    layers: tuple[int, ...] = ()
    """blocks after which vectors are added, from 0; none takes those between .3 and .65 of the depth (paper: 10, 12 .. 20 of 32)"""

    def __post_init__(self) -> None:
        self.layers = tuple(self.layers)
        if any(isinstance(layer, bool) or not isinstance(layer, int) or layer < 0 for layer in self.layers):
            raise ConfigError(f"layers are numbers from 0, got {self.layers}")

    def attach(self, model: nn.Module, encoder: Encoder, objectives: Sequence[Objective]) -> None:
        """Vectors of zeros after the chosen blocks; everything else is frozen. ModelError where that cannot be."""
        self._objectives = tuple(objectives)
        self._num = len(objectives)  # type: ignore[misc]
        blocks = blocks_of(model)
        if not self.layers:
            first, end = round(0.3 * len(blocks)), round(0.65 * len(blocks))
            self.layers = tuple(range(first, max(end, first + 1)))
        if max(self.layers) >= len(blocks):
            raise ConfigError(
                f"layers {self.layers} of a model with {len(blocks)} blocks; the last is {len(blocks) - 1}"
            )
        self._state = install(model, DeltaSpec(), self.expand, self._num + 2)  # type: ignore[misc]
        for layer in self.layers:
            name, last = [(name, each) for name, each in blocks[layer].named_modules() if is_linear(each)][-1]
            offsets = Offsets(self._num, sizes(last)[0]).to(last.weight.device)
            parent, _, leaf = name.rpartition(".")
            setattr(blocks[layer].get_submodule(parent), leaf, PluralLinear(last, self._state, offsets, None))
            self._check(model, blocks[layer], offsets)

    def trunk_columns(self) -> list[int]:
        """All: they act before the head."""
        return list(range(self._num + 2))

    def cache_key(self, condition: Condition | None) -> Hashable:
        """The condition."""
        return str(condition)

    def check_merge(self, condition: Condition | None) -> None:
        """ModelError: hidden states are moved, no weights are."""
        if condition is not None:
            raise ModelError("steering vectors are added to hidden states and cannot be merged; keep the policy folder")

    @torch.no_grad()
    def _check(self, model: Any, block: nn.Module, offsets: Offsets) -> None:
        """The block's output moves by the vector, exactly."""
        size = model.get_input_embeddings().num_embeddings
        ids = torch.arange(1, 7, device=offsets.offset.device)[None] % size
        found: list[Tensor] = []
        hook = block.register_forward_hook(lambda _module, _inputs, output: found.append(tensor_of(output)))
        offsets.offset[0] = torch.linspace(-1.0, 1.0, offsets.out_size, device=offsets.offset.device)
        try:
            for weight in (0.0, 1.0):
                rows = torch.zeros(1, self._num + 2, device=ids.device)
                rows[0, 0], rows[0, -1] = weight, 1.0
                with self.steered(model, rows):
                    model(input_ids=ids, use_cache=False)
        finally:
            hook.remove()
        moved = (found[1] - found[0]).float() - offsets.offset[0]
        offsets.offset.zero_()
        if float(moved.abs().max()) > (1e-3 if found[0].dtype == torch.float32 else 0.1):
            raise ModelError(
                f"{type(model).__name__} changes what its blocks add to the residual stream (a norm after the layer); "
                "vectors cannot be added there: use another model, or plural steering"
            )

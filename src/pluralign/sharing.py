"""Shared prefixes: the trunk over packed rows (`packing.py`), under masks in the form that the model takes (`masks.py`).

Whether it reads them as it reads rows alone is tried when a policy is made (`trial.py`); a model that does not keeps
its rows apart.

Letters: R rows, T tokens, C coefficients of a row, N positions that predict a token of a response.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from pluralign.errors import ModelError
from pluralign.masks import Masks
from pluralign.packing import Layout, pack
from pluralign.steering.contract import Steering

if TYPE_CHECKING:
    from pluralign.policy import Policy


def text_config(model: Any) -> Any:
    """The configuration of the decoder (that of the text, in models that also see)."""
    return model.config.get_text_config(decoder=True)


@dataclass(frozen=True, slots=True)
class Sharing:
    """How a model shares prefixes: its `masks`, the `linear` of `packing.pack`, and whether the choice of the kernel
    is `settled` (only a GPU has one)."""

    masks: Masks
    linear: float
    settled: bool = False


def read(
    policy: Policy,
    input_ids: Int[Tensor, "R T"],
    targets_mask: Bool[Tensor, "R T"],
    coefficients: Float[Tensor, "R C"],
    hidden: Bool[Tensor, "R T"] | None = None,
) -> Float[Tensor, "N d"]:
    """Last hidden states at the N positions that predict a token of targets_mask, row after row (differentiable).

    input_ids right-padded; row r is read under coefficients[r]. Of a model whose head is not known (`policy.fused`
    false), its logits [N, V] instead. Later tokens do not see `hidden` ones; ModelError where the model takes no mask.
    """
    if hidden is not None and policy.sharing is None:
        raise ModelError(
            f"{type(policy.model).__name__} takes no attention mask of ours, so no token can be hidden from those that "
            "follow; set forget to 0, or use a model with ordinary attention"
        )
    layout = layout_of(policy, input_ids, targets_mask, coefficients, hidden)
    states = run(policy.model, policy.steering, policy.sharing, policy.fused, layout, coefficients)
    rows, columns = targets_mask[:, 1:].nonzero(as_tuple=True)
    places = torch.from_numpy(layout.places).to(rows.device)[rows, columns]
    return states.flatten(0, 1)[places]


def run(
    model: Any, steering: Steering, sharing: Sharing | None, fused: bool, layout: Layout, coefficients: Tensor
) -> Tensor:
    """The states of a layout's tokens [B, T, d] (not `fused`: their logits), each under the coefficients [R, C] of
    its owner."""
    device = coefficients.device
    inputs: dict[str, Any] = {"input_ids": torch.from_numpy(layout.ids).to(device), "use_cache": False}
    kernel: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if layout.masked:
        assert sharing is not None, "only a model that takes masks is given rows that need one"
        masks, config = _recomputable(model, sharing.masks), text_config(model)
        inputs["attention_mask"] = masks.of(layout, config, model.get_input_embeddings().weight)
        inputs["position_ids"] = torch.from_numpy(layout.positions).to(device)
        kernel = _flexible(config) if masks.form == "blocks" else kernel
    columns = steering.trunk_columns() if fused else list(range(coefficients.shape[1]))
    with steering.steered(model, *_owned(layout, coefficients, columns)), kernel:
        if fused:
            return model.get_decoder()(**inputs).last_hidden_state
        return model(**inputs).logits


def _recomputable(model: Any, masks: Masks) -> Masks:
    """Gradient checkpointing runs layers again outside of `_flexible`, so it keeps to booleans."""
    if masks.form != "blocks":
        return masks
    name = "is_activation_checkpointing"  # in older transformers it has the other name
    checkpointed = getattr(model, name if hasattr(model, name) else "is_gradient_checkpointing", False)
    return replace(masks, form="asked") if checkpointed else masks


@contextlib.contextmanager
def _flexible(config: Any) -> Iterator[None]:
    """FlexAttention in the place of the model's own."""
    before = config._attn_implementation
    config._attn_implementation = "flex_attention"
    try:
        yield
    finally:
        config._attn_implementation = before


def _owned(layout: Layout, coefficients: Tensor, columns: list[int]) -> tuple[Tensor, Tensor | None]:
    """(coefficients, index): one row for all where that is enough, one per packed row, or one per token."""
    deciding = coefficients[:, columns]
    if bool((deciding == deciding[:1]).all()):
        return coefficients[:1], None
    owner = torch.from_numpy(layout.owner).to(coefficients.device)
    return (coefficients, owner) if layout.shared else (coefficients[owner[:, 0]], None)


def layout_of(
    policy: Policy, input_ids: Tensor, targets_mask: Tensor, coefficients: Tensor, hidden: Tensor | None = None
) -> Layout:
    """The layout of right-padded rows input_ids [R, T] whose response tokens are targets_mask [R, T]; coefficients
    [R, C]; hidden [R, T]. The last token of a response is read by nobody, so it is left out."""
    ids, mask = input_ids.cpu().numpy(), targets_mask.cpu().numpy()
    ends = mask.shape[1] - 1 - mask[:, ::-1].argmax(1)
    lengths = np.where(mask.any(1), np.maximum(ends, 1), 1)
    starts = np.minimum(mask.argmax(1), lengths)
    columns = policy.steering.trunk_columns() if policy.fused else list(range(coefficients.shape[1]))
    deciding = coefficients[:, columns].cpu().numpy()
    keys = [row.tobytes() for row in deciding]
    linear = None if policy.sharing is None else policy.sharing.linear
    unseen = None if hidden is None else hidden.cpu().numpy()
    return pack(ids, starts.tolist(), lengths.tolist(), keys, linear, unseen)

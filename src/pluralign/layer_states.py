"""Hidden states after chosen blocks of the decoder, at the tokens of responses.

Letters: R rows, T tokens, N response tokens, d hidden width, C coefficients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pluralign.errors import ConfigError
from pluralign.logprobs import pad
from pluralign.losses.outputs import StateOutputs
from pluralign.packing import batches
from pluralign.steering.offsets import blocks_of, tensor_of

if TYPE_CHECKING:
    from pluralign.policy import Policy

Pair = tuple[Sequence[int], Sequence[int]]


def layer_states(
    policy: Policy, input_ids: Tensor, targets_mask: Tensor, coefficients: Tensor, layers: Sequence[int]
) -> Tensor:
    """[N, layers, d], row after row, at the response tokens targets_mask [R, T] of right-padded input_ids [R, T] under
    coefficients [R, C]; differentiable. They are what the blocks give, so those of the last stand before the final norm.
    Raises ConfigError for a block that the model does not have."""
    blocks = blocks_of(policy.model)
    if not all(0 <= layer < len(blocks) for layer in layers):
        raise ConfigError(f"layers {tuple(layers)} of a model with {len(blocks)} blocks; they count from 0")
    found: dict[int, Tensor] = {}

    def keep(layer: int) -> Callable[[Any, Any, Any], None]:
        return lambda _module, _inputs, output: found.update({layer: tensor_of(output)})

    hooks = [blocks[layer].register_forward_hook(keep(layer)) for layer in layers]
    try:
        with policy.steering.steered(policy.model, coefficients):
            policy.model.get_decoder()(input_ids=input_ids, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack([found[layer] for layer in layers], dim=2)[targets_mask]


def state_outputs(policy: Policy, batch: Any, layers: Sequence[int]) -> StateOutputs:
    """Of a `training.batching.Batch`: every response under each of its conditions; differentiable."""
    num = batch.coefficients.shape[1]
    ids, mask = (tensor.repeat_interleave(num, 0) for tensor in (batch.input_ids, batch.targets_mask))
    states = layer_states(policy, ids, mask, batch.coefficients.flatten(0, 1), layers)
    nothing = states.new_zeros(batch.coefficients.shape[:2])
    rows = mask.nonzero(as_tuple=True)[0]
    return StateOutputs(nothing, batch.reference, batch.lengths, batch.groups, states=states, rows=rows)


@torch.no_grad()
def layer_means(
    policy: Policy,
    pairs: Sequence[Pair],
    coefficients: Tensor,
    layers: Sequence[int],
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """Means over the response's tokens [N, layers, d] (float32) of (prompt ids, response ids) pairs under [N, C]."""
    result: Tensor | None = None
    lengths = [len(prompt) + len(response) for prompt, response in pairs]
    for rows in batches(lengths, [tuple(prompt) for prompt, _ in pairs]):
        ids, mask = pad([pairs[row] for row in rows], policy.device)
        states = layer_states(policy, ids, mask, coefficients[rows], layers).float()
        owner = mask.nonzero(as_tuple=True)[0]
        sums = states.new_zeros(len(rows), *states.shape[1:]).index_add(0, owner, states)
        means = (sums / mask.sum(1)[:, None, None]).cpu()
        result = torch.zeros(len(pairs), *means.shape[1:]) if result is None else result
        result[rows] = means
        if progress:
            progress(len(rows))
    return torch.zeros(0, len(layers), 0) if result is None else result

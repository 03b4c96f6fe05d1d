"""The trunk's hidden states at a response's own tokens, for models that read a response instead of predicting it.

Letters: R rows, T tokens, N response tokens of all rows, d width.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from pluralign import sharing, trial
from pluralign.errors import ModelError
from pluralign.policy import Policy


def response_states(
    trunk: Policy, input_ids: Int[Tensor, "R T"], targets_mask: Bool[Tensor, "R T"]
) -> Float[Tensor, "N d"]:
    """Last hidden states at the response tokens, row after row; prefixes that rows share are read once.

    input_ids right-padded. `sharing.read` gives the states that predict a token of its mask. So a token that nobody
    reads is put behind each response, and the state that predicts a response's first token is left out.
    """
    trial.settle(trunk)
    lengths = targets_mask.sum(1)
    full = lengths > 0
    ends = targets_mask.shape[1] - targets_mask.flip(1).int().argmax(1)
    ids, mask = pad(input_ids, (0, 1)), pad(targets_mask, (0, 1))
    mask[full.nonzero()[:, 0], ends[full]] = True
    states = sharing.read(trunk, ids, mask, trunk.coefficients([None] * len(ids)))
    counts = lengths[full] + 1
    kept = torch.ones(len(states), dtype=torch.bool, device=states.device)
    kept[counts.cumsum(0) - counts] = False
    return states[kept]


def last_of(states: Float[Tensor, "N d"], lengths: Int[Tensor, " R"]) -> Float[Tensor, "R d"]:
    """The states of every row's last token, of rows with `lengths` ≥ 1 tokens one after the other."""
    return states[lengths.cumsum(0) - 1]


def without_head(trunk: Policy) -> Policy:
    """The policy as one whose head does not train and need not be known. ModelError where there is no decoder."""
    try:
        shared = trunk.model.get_input_embeddings().weight
        for parameter in trunk.model.get_output_embeddings().parameters():
            parameter.requires_grad_(parameter is shared and parameter.requires_grad)
        if not trunk.fused:
            trunk.fused = True
            trunk.sharing = trial.sharing_of(trunk.model, trunk.steering, trunk.num_changes, True)
    except AttributeError as error:
        raise ModelError(f"{type(trunk.model).__name__} has no decoder to read states from: {error}") from error
    return trunk

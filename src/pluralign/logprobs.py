"""Log-probabilities of responses under many conditions: the trunk once per prompt and response where it can
(`sharing.py`), the head for all.

Letters: R rows, T tokens, L conditions of a row, C coefficients, N response positions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from pluralign.errors import ModelError
from pluralign.packing import batches
from pluralign.sharing import read
from pluralign.steering.contract import Steering, reference_coefficients
from pluralign.steering.head import Head, target_logprobs
from pluralign.steering.passes import summed_logprobs, supports
from pluralign.trial import settle

if TYPE_CHECKING:
    from pluralign.policy import Policy


class ResponseStates(NamedTuple):
    """What the head needs of the trunk, at the N positions that predict a response token, row after row.

    hidden [N, d] (differentiable); targets [N] the tokens to predict; rows [N] the row of each, ascending;
    coefficients [R', L', C] of those rows: R' = R, L' = L, or R' = R·L (row-major), L' = 1 where the trunk depends on
    the condition and ran once for each.
    """

    hidden: Tensor
    targets: Tensor
    rows: Tensor
    coefficients: Tensor


def response_states(
    policy: Policy, input_ids: Tensor, targets_mask: Tensor, coefficients: Tensor, states: Tensor | None = None
) -> ResponseStates:
    """The trunk's side of `response_logprobs`, for a policy whose head we know (`policy.fused`)."""
    if not _one_trunk(policy.steering, coefficients):
        input_ids, targets_mask, coefficients = _repeated(input_ids, targets_mask, coefficients)
    rows, columns = targets_mask[:, 1:].nonzero(as_tuple=True)
    if states is None:
        settle(policy)
        states = read(policy, input_ids, targets_mask, coefficients[:, 0])
    return ResponseStates(states, input_ids[rows, columns + 1], rows, coefficients)


def response_logprobs(
    policy: Policy, input_ids: Tensor, targets_mask: Tensor, coefficients: Tensor, states: Tensor | None = None
) -> Tensor:
    """Σ_t log p(token t) over the masked tokens [R, L], float32 (float64 where the fast head needs no gradient).

    input_ids [R, T] right-padded (padding follows every valid token, so causal attention needs no mask);
    targets_mask [R, T] true where a token belongs to the response; coefficients [R, L, C]. `states` [N, d]: the trunk's output where it is known already.
    """
    if not policy.fused:
        return _own_logprobs(policy, input_ids, targets_mask, coefficients)
    found = response_states(policy, input_ids, targets_mask, coefficients, states)
    if supports(policy.head) and not torch.is_grad_enabled():
        return summed_logprobs(policy.head, *found).view(coefficients.shape[:2])
    tokens = policy.head.token_logprobs(*found[:2], found.coefficients, found.rows)
    return tokens.new_zeros(found.coefficients.shape[:2]).index_add(0, found.rows, tokens).view(coefficients.shape[:2])


def _own_logprobs(policy: Policy, input_ids: Tensor, targets_mask: Tensor, coefficients: Tensor) -> Tensor:
    """The same by the model's own logits, a row per condition: where its head does what we do not know."""
    shape = coefficients.shape[:2]
    input_ids, targets_mask, coefficients = _repeated(input_ids, targets_mask, coefficients)
    rows, columns = targets_mask[:, 1:].nonzero(as_tuple=True)
    logits = read(policy, input_ids, targets_mask, coefficients[:, 0])
    tokens = target_logprobs(logits, input_ids[rows, columns + 1])
    return tokens.new_zeros(len(input_ids)).index_add(0, rows, tokens).view(shape)


def _repeated(input_ids: Tensor, targets_mask: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A row for each of the L conditions of a row: [R·L, T], [R·L, T], [R·L, 1, C]."""
    num = coefficients.shape[1]
    ids, mask = (tensor.repeat_interleave(num, 0) for tensor in (input_ids, targets_mask))
    return ids, mask, coefficients.flatten(0, 1)[:, None]


def trunk(model: Any, input_ids: Tensor) -> Tensor:
    """Last hidden states [R, T, d] of the decoder, before the head."""
    return model.get_decoder()(input_ids=input_ids, use_cache=False).last_hidden_state


def _one_trunk(steering: Steering, coefficients: Tensor) -> bool:
    columns = coefficients[:, :, steering.trunk_columns()]
    return bool((columns == columns[:, :1]).all())


@torch.no_grad()
def sequence_logprobs(
    policy: Policy,
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    coefficients: Tensor,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """log-probabilities [N, L] of (prompt ids, response ids) pairs under coefficients [N, L, C]; no gradient.

    Responses to the same prompt are read together; `progress` is told the rows done.
    """
    result = torch.zeros(coefficients.shape[:2])
    lengths = [len(prompt) + len(response) for prompt, response in pairs]
    for rows in batches(lengths, [tuple(prompt) for prompt, _ in pairs]):
        input_ids, mask = pad([pairs[row] for row in rows], policy.device)
        result[rows] = response_logprobs(policy, input_ids, mask, coefficients[rows]).float().cpu()
        if progress:
            progress(len(rows))
    return result


def pad(
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]], device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """(input_ids, targets_mask) [R, T], right-padded with 0, of (prompt ids, response ids) pairs."""
    width = max(len(prompt) + len(response) for prompt, response in pairs)
    input_ids = torch.zeros(len(pairs), width, dtype=torch.long)
    mask = torch.zeros(len(pairs), width, dtype=torch.bool)
    for row, (prompt, response) in enumerate(pairs):
        ids = [*prompt, *response]
        input_ids[row, : len(ids)] = torch.tensor(ids)
        mask[row, len(prompt) : len(ids)] = True
    return input_ids.to(device), mask.to(device)


@torch.no_grad()
def head_agrees(model: Any, head: Head, steering: Steering, num_changes: int) -> bool:
    """Whether trunk + head function reproduce the model's own log-probabilities on a short batch.

    The head's raw logits are blown up on the way, so that a scale or soft-cap that `head` does not know shows even
    in a model whose logits are small.
    """
    width = min(8, int(getattr(model.config, "max_position_embeddings", None) or 8))
    embeddings = model.get_input_embeddings()
    device = embeddings.weight.device
    input_ids = torch.arange(1, 2 * width + 1, device=device).view(2, width) % embeddings.num_embeddings
    coefficients = reference_coefficients(2, num_changes).to(device)
    was_training = model.training
    model.eval()
    try:
        with steering.steered(model, coefficients), _amplified(head.layer):
            fused = head.logits(trunk(model, input_ids), coefficients[:, None])
            own = model(input_ids=input_ids, use_cache=False).logits
    except (AttributeError, TypeError, ModelError):
        return False  # no decoder or head of the usual shape
    finally:
        model.train(was_training)
    difference = (fused.float().log_softmax(-1) - own.float().log_softmax(-1)).abs().max()
    return bool(difference < (1e-3 if own.dtype == torch.float32 else 0.5))


@contextlib.contextmanager
def _amplified(layer: nn.Module) -> Iterator[None]:
    """The head's base gives logits as large as a trained model's (up to 40)."""
    base = getattr(layer, "base", layer)
    hook = base.register_forward_hook(
        lambda _module, _inputs, logits: logits * (40.0 / logits.abs().max().clamp_min(1e-6))
    )
    try:
        yield
    finally:
        hook.remove()

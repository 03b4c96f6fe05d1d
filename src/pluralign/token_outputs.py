"""What a loss over tokens is given: for every response token its log-probability, the entropy of its distribution and the
distance to the reference's, by autograd through the logits (`losses/outputs.py`, TokenOutputs).

Letters: R rows, L conditions of a row, N response tokens of all of them, V vocabulary, C coefficients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pluralign.errors import ConfigError
from pluralign.losses.outputs import SEEN, TokenOutputs
from pluralign.sharing import read
from pluralign.trial import settle

if TYPE_CHECKING:
    from pluralign.policy import Policy

NUMBERS = 1 << 25
"""Logits (tokens x vocabulary) held at once; beyond it, chunks are recomputed in backward."""


def token_outputs(policy: Policy, batch: Any, with_reference: bool, numbers: int = NUMBERS) -> TokenOutputs:
    """Of a `training.batching.Batch`, `numbers` logits at a time; `with_reference` needs its `plain` rows (ConfigError
    without them)."""
    num = batch.coefficients.shape[1]
    ids, mask, series = (batch.input_ids, batch.targets_mask, batch.series)
    coefficients = batch.coefficients.flatten(0, 1)
    if num > 1:
        ids, mask = (tensor.repeat_interleave(num, 0) for tensor in (ids, mask))
        series = {name: values.repeat_interleave(num, 0) for name, values in series.items()}
    rows, columns = mask[:, 1:].nonzero(as_tuple=True)
    settle(policy)
    states = read(policy, ids, mask, coefficients, series[SEEN] == 0 if SEEN in series else None)
    shares = coefficients[rows]
    kept = _kept(policy)
    reference = _reference_logits(policy, batch, num, kept) if with_reference else None
    size = max(1, numbers // policy.head.vocabulary_size)

    def chunk(part: slice) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        logits = policy.head.logits(states[part], shares[part]) if policy.fused else states[part]
        return _numbers(logits, targets[part], kept, None if reference is None else reference[part])

    targets = ids[rows, columns + 1]
    parts = [slice(start, start + size) for start in range(0, len(targets), size)] or [slice(0, 0)]
    one = len(parts) == 1 or not torch.is_grad_enabled()
    found = [chunk(part) if one else checkpoint(chunk, part, use_reentrant=False) for part in parts]
    logprobs, entropy, forward, reverse = (torch.cat(each) for each in zip(*found, strict=True))
    summed = logprobs.new_zeros(len(ids)).index_add(0, rows, logprobs).view(-1, num)
    at_tokens = {name: values[rows, columns + 1] for name, values in series.items()}
    return TokenOutputs(
        summed,
        batch.reference,
        batch.lengths,
        batch.groups,
        rows=rows,
        token_logprobs=logprobs,
        entropy=entropy,
        kl_forward=forward if with_reference else None,
        kl_reverse=reverse if with_reference else None,
        series=at_tokens,
    )


def _kept(policy: Policy) -> Tensor | None:
    """The vocabulary without the tokens that enclose a condition; None: all of it."""
    left_out = policy.encoder.condition_ids
    if not left_out:
        return None
    every = torch.arange(policy.head.vocabulary_size, device=policy.device)
    return every[~torch.isin(every, torch.tensor(left_out, device=policy.device))]


def _numbers(
    logits: Tensor, targets: Tensor, kept: Tensor | None, reference: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(log-probability, entropy, forward KL, reverse KL), each [n] float32, of logits [n, V]."""
    wide = logits.float()
    logprobs = wide.log_softmax(-1).gather(-1, targets[:, None])[:, 0]
    own = (wide if kept is None else wide[:, kept]).log_softmax(-1)
    entropy = -(own.exp() * own).sum(-1)
    if reference is None:
        return logprobs, entropy, torch.zeros_like(entropy), torch.zeros_like(entropy)
    difference = reference - own
    return logprobs, entropy, (reference.exp() * difference).sum(-1), -(own.exp() * difference).sum(-1)


@torch.no_grad()
def _reference_logits(policy: Policy, batch: Any, num: int, kept: Tensor | None) -> Tensor:
    """log p_0 [N, V'] at the response tokens of the unconditioned rows, each repeated for the conditions of its row."""
    if batch.plain is None:
        raise ConfigError("this loss compares distributions, so its batches need their unconditioned rows beside them")
    base, plain = policy.reference, batch.plain
    rows = base.reference_coefficients(len(plain.input_ids))
    settle(base)
    states = read(base, plain.input_ids, plain.targets_mask, rows)
    owners = plain.targets_mask[:, 1:].nonzero(as_tuple=True)[0]
    logits = (base.head.logits(states, rows[owners]) if base.fused else states).float()
    logprobs = (logits if kept is None else logits[:, kept]).log_softmax(-1)
    if num == 1:
        return logprobs
    lengths = plain.targets_mask[:, 1:].sum(1)
    parts = logprobs.split(lengths.tolist())
    return torch.cat([part for part in parts for _ in range(num)])

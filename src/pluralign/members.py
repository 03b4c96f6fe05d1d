"""Log-probabilities of responses where several rows answer one request together, token by token (`steering/mixture.py`).

Letters: N requests, M rows (members of requests, those of a request one after another), V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pluralign.logprobs import pad
from pluralign.sharing import read

if TYPE_CHECKING:
    from pluralign.policy import Policy

Pair = tuple[Sequence[int], Sequence[int]]
TOKENS = 4096
"""Response tokens, counted once for every member, whose log-probabilities [tokens, V] are held at a time."""


@torch.no_grad()
def mixed_logprobs(
    policy: Policy,
    pairs: Sequence[Pair],
    coefficients: Tensor,
    shares: Sequence[float],
    owners: Sequence[int],
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """log π(y|x) [N] in nats, each token drawn from the members' combined and renormalised distribution.

    `pairs` (prompt ids, response ids), coefficients [M, C] and `shares` belong to the rows; `owners` [M], ascending, says
    which request a row answers. The members of a request have the same response; their prompts may differ.
    """
    result = torch.zeros(owners[-1] + 1 if owners else 0)
    for rows in _batches(pairs, owners):
        own = [owners[row] for row in rows]
        result[own[0] : own[-1] + 1] = _combined(policy, [pairs[row] for row in rows], coefficients[rows],
                                                 torch.tensor([shares[row] for row in rows]), own)  # fmt: skip
        if progress:
            progress(len(rows))
    return result


def _batches(pairs: Sequence[Pair], owners: Sequence[int]) -> Iterator[list[int]]:
    """Rows of whole requests, as many as have room."""
    batch: list[int] = []
    tokens = 0
    for _, group in groupby(range(len(owners)), key=owners.__getitem__):
        rows = list(group)
        size = sum(len(pairs[row][1]) for row in rows)
        if batch and tokens + size > TOKENS:
            yield batch
            batch, tokens = [], 0
        batch, tokens = batch + rows, tokens + size
    if batch:
        yield batch


def _combined(
    policy: Policy, pairs: Sequence[Pair], coefficients: Tensor, shares: Tensor, owners: Sequence[int]
) -> Tensor:
    input_ids, mask = pad(pairs, policy.device)
    rows, columns = mask[:, 1:].nonzero(as_tuple=True)
    found = read(policy, input_ids, mask, coefficients)  # states, or logits where the head is not known
    logits = policy.head.logits(found, coefficients[rows]) if policy.fused else found
    numbers = {owner: number for number, owner in enumerate(dict.fromkeys(owners))}
    own = torch.tensor([numbers[owner] for owner in owners], device=rows.device)
    first = torch.tensor([owners.index(owner) for owner in numbers], device=rows.device)
    lengths = torch.tensor([len(response) for _, response in pairs], device=rows.device)
    starts = lengths.cumsum(0) - lengths  # where a row's tokens begin
    places = lengths[first].cumsum(0) - lengths[first]  # where a request's do
    slots = places[own[rows]] + torch.arange(len(rows), device=rows.device) - starts[rows]
    num = int(lengths[first].sum())
    mixed = policy.steering.combine(logits.float().log_softmax(-1), shares.to(rows.device)[rows], slots, num)
    targets = input_ids[rows, columns + 1].new_zeros(num).index_put((slots,), input_ids[rows, columns + 1])
    tokens = mixed.log_softmax(-1).gather(-1, targets[:, None])[:, 0]
    owner = torch.arange(len(first), device=rows.device).repeat_interleave(lengths[first])
    return tokens.new_zeros(len(first)).index_add(0, owner, tokens).float().cpu()

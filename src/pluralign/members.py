"""Log-probabilities of responses where several rows answer one request together, token by token: mixtures, guidance
(`steering/mixture.py`, `text.py`), and other models that stand beside the policy's own (`steering/proxy.py`).

Letters: N requests, M rows (members of requests, those of a request one after another, the policy's own before its
helpers'), V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from pluralign.data.condition import Condition
from pluralign.data.record import Message
from pluralign.errors import ModelError
from pluralign.logprobs import pad, sequence_logprobs
from pluralign.sharing import read

if TYPE_CHECKING:
    from pluralign.policy import Policy

Pair = tuple[Sequence[int], Sequence[int]]
TOKENS = 4096
"""Response tokens, counted once for every member, whose log-probabilities [tokens, V] are held at a time."""


class Member(NamedTuple):
    """One row of a request: the `model` that reads it (0 the policy's, n its n-th helper's), what it is asked there,
    and its share in the sum of log-probabilities."""

    model: int
    condition: Condition | None
    share: float


class Row(NamedTuple):
    """A member with its (prompt ids, response ids), and the number of its request."""

    member: Member
    pair: Pair
    owner: int


def members_of(policy: Policy, condition: Condition | None) -> list[Member]:
    """Everybody who answers under a condition: the policy's own members, then its helpers'. ModelError without these."""
    own = [Member(0, *member) for member in policy.steering.members(condition)]
    helpers = policy.steering.helpers(condition)
    if any(place >= len(policy.helpers) for place, _, _ in helpers):
        raise ModelError(
            f"'{condition}' is answered with other models beside this one, and they are not here; train the policy "
            "(proxy, contrastive), or give it the models (policy.assist)"
        )
    return own + [Member(place + 1, asked, share) for place, asked, share in helpers]


def rows_of(
    policy: Policy,
    messages: Sequence[Message],
    response: str,
    condition: Condition | None,
    owner: int = 0,
    finished: bool = True,
) -> list[Row] | None:
    """The rows that a request needs, each written and encoded as its own model reads it; None where one does not fit."""
    rows = []
    for member in members_of(policy, condition):
        model = policy.models[member.model]
        pair = model.encoder.pair(model.steering.write(messages, member.condition), response, finished)
        if pair is None:
            return None
        rows.append(Row(member, pair, owner))
    return rows


def all_rows(
    policy: Policy,
    prompts: Sequence[Sequence[Message]],
    responses: Sequence[str],
    conditions: Sequence[Condition | None],
) -> list[Row]:
    """The rows of requests numbered from 0; ModelError where a response does not fit."""
    rows: list[Row] = []
    for place, (messages, response, condition) in enumerate(zip(prompts, responses, conditions, strict=True)):
        found = rows_of(policy, messages, response, condition, place)
        if found is None:
            raise ModelError(f"a response does not fit max_length={policy.encoder.max_length}: {response[:60]!r}...")
        rows += found
    return rows


@torch.no_grad()
def logprobs_of(policy: Policy, rows: Sequence[Row], progress: Callable[[int], None] | None = None) -> Tensor:
    """log π(y|x) [N] in nats of the requests that the rows belong to (owners ascending from 0), float32.

    A request of several members: each token from their combined and renormalised distribution. `progress` is told the
    rows done.
    """
    if [row.owner for row in rows] == list(range(len(rows))) and all(r.member[::2] == (0, 1.0) for r in rows):
        coefficients = policy.coefficients([row.member.condition for row in rows])
        return sequence_logprobs(policy, [row.pair for row in rows], coefficients[:, None], progress)[:, 0]
    result = torch.zeros(rows[-1].owner + 1)
    for batch in _batches(rows):
        result[batch[0].owner : batch[-1].owner + 1] = _combined(policy, batch)
        if progress:
            progress(len(batch))
    return result


def _batches(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Rows of whole requests, as many as have room."""
    batch: list[Row] = []
    tokens = 0
    for _, group in groupby(rows, key=lambda row: row.owner):
        request = list(group)
        size = sum(len(row.pair[1]) for row in request)
        if batch and tokens + size > TOKENS:
            yield batch
            batch, tokens = [], 0
        batch, tokens = batch + request, tokens + size
    if batch:
        yield batch


def _combined(policy: Policy, rows: Sequence[Row]) -> Tensor:
    """log π(y|x) of the requests of some rows."""
    responses = {row.owner: row.pair[1] for row in rows}
    device = policy.device
    lengths = torch.tensor([len(ids) for ids in responses.values()], device=device)
    starts = dict(zip(responses, (lengths.cumsum(0) - lengths).tolist(), strict=True))  # where a request's tokens begin
    found, shares, slots = [], [], []
    for place, model in enumerate(policy.models):
        own = [row for row in rows if row.member.model == place]
        if own:
            found.append(_token_logprobs(model, own))
            shares += [row.member.share for row in own for _ in row.pair[1]]
            slots += [starts[row.owner] + token for row in own for token in range(len(row.pair[1]))]
    width = min(logprobs.shape[1] for logprobs in found)  # vocabularies are one, but may be padded differently
    stacked = torch.cat([logprobs[:, :width].to(device) for logprobs in found])
    number = torch.tensor(slots, device=device)
    mixed = policy.steering.combine(stacked, torch.tensor(shares, device=device), number, int(lengths.sum()))
    targets = torch.tensor([token for ids in responses.values() for token in ids], device=device)
    tokens = mixed.log_softmax(-1).gather(-1, targets[:, None])[:, 0]
    owner = torch.arange(len(lengths), device=device).repeat_interleave(lengths)
    return tokens.new_zeros(len(lengths)).index_add(0, owner, tokens).float().cpu()


def _token_logprobs(model: Policy, rows: Sequence[Row]) -> Tensor:
    """log p [tokens, V] at the response tokens of one model's rows, row after row."""
    input_ids, mask = pad([row.pair for row in rows], model.device)
    coefficients = model.coefficients([row.member.condition for row in rows])
    found = read(model, input_ids, mask, coefficients)  # states, or logits where the head is not known
    places = mask[:, 1:].nonzero(as_tuple=True)[0]
    logits = model.head.logits(found, coefficients[places]) if model.fused else found
    return logits.float().log_softmax(-1)

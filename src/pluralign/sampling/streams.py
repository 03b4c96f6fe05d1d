"""Streams: the rows of one model while a batch is decoded, with their prompts, cache and mask.

Letters: R requests still running, M rows of the stream's members (R where each request has one), V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pluralign.policy import Policy


class Written(NamedTuple):
    """A row to decode: its prompt's ids (the request's prefix last), its coefficients [C], its share of the
    distribution, and the request that it works for."""

    prompt: tuple[int, ...]
    coefficients: Tensor
    share: float
    owner: int


class Stream:
    """One model's rows. `owners` [M] are the places of their requests among those still running, `shares` [M]."""

    def __init__(self, policy: Policy, rows: Sequence[Written], cache: Any) -> None:
        self.policy, self.cache = policy, cache
        self.prompts = [row.prompt for row in rows]
        self.coefficients = torch.stack([row.coefficients for row in rows])
        self.shares = torch.tensor([row.share for row in rows], device=policy.device)
        self.owners = torch.tensor([row.owner for row in rows], device=policy.device)
        self.mask = torch.ones(0, 0, dtype=torch.bool)
        self.padded = True
        self.last_place = (context(policy) or 2**31) - 1

    def prefill(self) -> Tensor:
        """Logits [M, V] after the prompts; equal prompts under equal steering pass the trunk once."""
        trunk = self.coefficients[:, self.policy.steering.trunk_columns()].tolist()
        keys = (
            list(zip(self.prompts, map(tuple, trunk), strict=True)) if self.policy.fused else range(len(self.prompts))
        )
        first = {key: row for row, key in reversed(list(enumerate(keys)))}  # where a key occurs first
        rows = sorted(first.values())
        tokens, self.mask = self._padded([self.prompts[row] for row in rows])
        self.padded = not bool(self.mask.all())
        if len(rows) == len(keys):
            return self._logits(tokens)
        hidden = self._hidden(tokens, self.coefficients[rows])
        place = {row: number for number, row in enumerate(rows)}
        copies = torch.tensor([place[first[key]] for key in keys], device=tokens.device)
        self.cache.batch_select_indices(copies)
        self.mask = self.mask[copies]
        return self.policy.head.logits(hidden[copies], self.coefficients)

    def step(self, tokens: Tensor) -> Tensor:
        """Logits [M, V] after the next token of each request [R, 1]."""
        self.mask = torch.cat([self.mask, torch.ones_like(self.mask[:, :1])], dim=1)
        return self._logits(tokens[self.owners])

    def thin(self, running: Tensor) -> None:
        """Let the rows of requests go that have ended (running [R] false)."""
        kept = running[self.owners].nonzero(as_tuple=True)[0]
        if len(kept):  # a stream without rows is left by its batch
            self.cache.batch_select_indices(kept)
        place = running.long().cumsum(0) - 1
        self.owners, self.shares, self.mask = place[self.owners[kept]], self.shares[kept], self.mask[kept]
        self.coefficients = self.coefficients[kept]

    def _padded(self, prompts: Sequence[tuple[int, ...]]) -> tuple[Tensor, Tensor]:
        """(input_ids, mask) [R, T], padded on the left so that all rows end together."""
        width = max(map(len, prompts))
        ids = [[0] * (width - len(prompt)) + list(prompt) for prompt in prompts]
        mask = [[False] * (width - len(prompt)) + [True] * len(prompt) for prompt in prompts]
        device = self.policy.device
        return torch.tensor(ids, device=device), torch.tensor(mask, device=device)

    def _logits(self, tokens: Tensor) -> Tensor:
        """Next-token logits [M, V]."""
        if self.policy.fused:
            return self.policy.head.logits(self._hidden(tokens, self.coefficients), self.coefficients)
        with self.policy.steering.steered(self.policy.model, self.coefficients):
            return self.policy.model(**self._inputs(tokens)).logits[:, -1]

    def _hidden(self, tokens: Tensor, coefficients: Tensor) -> Tensor:
        """The trunk's last hidden state [M, d]."""
        with self.policy.steering.steered(self.policy.model, coefficients):
            return self.policy.model.get_decoder()(**self._inputs(tokens)).last_hidden_state[:, -1]

    def _inputs(self, tokens: Tensor) -> dict[str, Any]:
        positions = (self.mask.long().cumsum(1) - 1).clamp(0, self.last_place)[:, -tokens.shape[1] :]
        return {
            "input_ids": tokens,
            "position_ids": positions,
            "past_key_values": self.cache,
            "attention_mask": self.mask.long() if self.padded else None,
            "use_cache": True,
        }


def context(policy: Policy) -> int | None:
    """Tokens that the model can read; None where its configuration does not say."""
    limit = getattr(policy.model.config, "max_position_embeddings", None)
    return int(limit) if limit else None

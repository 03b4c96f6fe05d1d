"""Streams: the rows of one model while requests decode, with their key-value cache.

Letters: R requests still running, M members of the stream (one row of the cache each; R where each request has one),
N members that join, V vocabulary, C coefficients.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pluralign.policy import Policy
from pluralign.sampling.prefixes import Known, Prefixes
from pluralign.sampling.slots import Slots
from pluralign.steering.decoding import DecodingHead

PASS = 8192
"""Tokens (padding counted) that are read in one pass when prompts join."""
SPREAD = 0.75
"""Prompts are read together if the shorter has at least this share of the longer one's unread tokens."""


class Written(NamedTuple):
    """A row to decode: its prompt's ids (the request's prefix last), its coefficients [C], its share of the
    distribution, what its cache depends on besides the ids, and the request that it works for."""

    prompt: tuple[int, ...]
    coefficients: Tensor
    share: float
    key: Hashable
    owner: int


class Stream:
    """One model's members, ordered by request: `owners` [M] are the places of these among those running, `shares` [M],
    `coefficients` [M, C], `rows` [M] where they stand in the cache."""

    def __init__(self, policy: Policy, prefix_tokens: int = 0) -> None:
        self.policy, self.slots, self.prefixes = policy, Slots(policy.model.config), Prefixes(prefix_tokens)
        self.head = DecodingHead(policy.head) if policy.fused else None
        self.last_place = (context(policy) or 2**31) - 1
        device = policy.device
        self.owners = torch.zeros(0, dtype=torch.long, device=device)
        self.shares = torch.zeros(0, device=device)
        self.coefficients = torch.zeros(0, policy.num_changes + 2, device=device)
        self.rows: list[int] = []
        self.written: list[Written] = []

    def step(self, tokens: Tensor) -> Tensor:
        """Logits [M, V] after the next token of each request [R]."""
        self.slots.advance()
        order = torch.tensor(self.rows, device=tokens.device)
        by_row = torch.empty_like(order)
        by_row[order] = torch.arange(len(order), device=tokens.device)
        found = self._forward(tokens[self.owners][by_row, None], self.coefficients[by_row])
        return self._logits(found[order], self.coefficients)

    def join(self, members: Sequence[Written]) -> Tensor:
        """Logits [N, V] after the prompts of new members, whose owners stand behind all others."""
        twins = _twins(members)
        known = {first: self._known(members[first]) for first in twins}
        unread = {first: len(members[first].prompt) - _length(known[first]) for first in twins}
        order = sorted(twins, key=unread.__getitem__)
        order += [number for number in range(len(members)) if number not in twins]
        rows = self.slots.join([len(members[number].prompt) for number in order])
        row = dict(zip(order, rows, strict=True))
        for first, found in known.items():
            if found:
                self.slots.put(row[first], 0, found)
        coefficients = torch.stack([member.coefficients for member in members])
        firsts = order[: len(twins)]
        states = self._read([members[n] for n in firsts], [unread[n] for n in firsts], coefficients[firsts], rows.start)
        for first, others in twins.items():
            if others:
                self.slots.copy(row[first], [row[number] for number in others])
        self._enter(members, coefficients, [row[number] for number in range(len(members))])
        source = {number: at for at, first in enumerate(firsts) for number in (first, *twins[first])}
        return self._logits(states[[source[number] for number in range(len(members))]], coefficients)

    def _enter(self, members: Sequence[Written], coefficients: Tensor, rows: Sequence[int]) -> None:
        device = self.policy.device
        self.rows += rows
        self.written += members
        self.owners = torch.cat([self.owners, torch.tensor([each.owner for each in members], device=device)])
        self.shares = torch.cat([self.shares, torch.tensor([each.share for each in members], device=device)])
        self.coefficients = torch.cat([self.coefficients, coefficients])

    def thin(self, running: Tensor) -> None:
        """Let the rows of requests go that have ended (running [R] false)."""
        kept = running[self.owners]
        flags = kept.tolist()
        stays = [False] * len(self.rows)
        for row, flag in zip(self.rows, flags, strict=True):
            stays[row] = flag
        now = {row: place for place, row in enumerate(self.slots.keep(stays))}
        self.rows = [now[row] for row, flag in zip(self.rows, flags, strict=True) if flag]
        self.written = [each for each, flag in zip(self.written, flags, strict=True) if flag]
        place = running.long().cumsum(0) - 1
        self.owners, self.shares = place[self.owners[kept]], self.shares[kept]
        self.coefficients = self.coefficients[kept]

    def leave(self, owner: int, tokens: Sequence[int], finite: bool) -> None:
        """Keep what was read for a request (its prompts, and these tokens after them) for the prompts to come.

        What is not `finite` is wiped out instead: a masked place that is NaN would reach whoever takes the row next.
        """
        if finite and not self.prefixes.room:
            return
        for member in (self.owners == owner).nonzero()[:, 0].tolist():
            written, row = self.written[member], self.rows[member]
            ids = (*written.prompt, *tokens)
            if not finite:
                self.slots.wipe(row)
            elif end := self.prefixes.missing(ids, written.key):
                self.prefixes.keep(ids, written.key, self.slots.take(row, 0, end))

    def _known(self, member: Written) -> Known:
        return self.prefixes.find(member.prompt, member.key) if self.prefixes.room else []

    def _read(self, members: Sequence[Written], unread: Sequence[int], coefficients: Tensor, first: int) -> Tensor:
        """What `_forward` gives for the ends of prompts that stand in rows `first`, `first` + 1, .. of the cache."""
        found = []
        for start, end in _passes(unread):
            tokens = max(unread[start:end])  # who has fewer unread reads some of its own again, or padding
            self.slots.read(first + start, first + end, tokens)
            found.append(self._forward(self._padded(members[start:end], tokens), coefficients[start:end]))
        return torch.cat(found)

    def _padded(self, members: Sequence[Written], tokens: int) -> Tensor:
        """The last `tokens` of each prompt [N, T], padded on the left."""
        ids = [[0] * (tokens - len(member.prompt)) + list(member.prompt[-tokens:]) for member in members]
        return torch.tensor(ids, device=self.policy.device)

    def _forward(self, tokens: Tensor, coefficients: Tensor) -> Tensor:
        """The trunk's last hidden state [N, d] of the pass that the slots expect; logits where the head is not known."""
        model = self.policy.model
        with self.policy.steering.steered(model, coefficients):
            if self.policy.fused:
                return model.get_decoder()(**self._inputs(tokens)).last_hidden_state[:, -1]
            return model(**self._inputs(tokens)).logits[:, -1]

    def _logits(self, found: Tensor, coefficients: Tensor) -> Tensor:
        return found if self.head is None else self.head.logits(found, coefficients)

    def _inputs(self, tokens: Tensor) -> dict[str, Any]:
        mask = self.slots.mask()
        return {
            "input_ids": tokens,
            "position_ids": self.slots.positions().clamp(0, self.last_place).to(tokens.device),
            "past_key_values": self.slots.cache,
            "attention_mask": None if mask is None else mask.to(tokens.device),
            "use_cache": True,
        }


def _length(known: Known) -> int:
    return known[0][0].shape[1] if known else 0


def _twins(members: Sequence[Written]) -> dict[int, list[int]]:
    """The members whose prompts are read, each with the later ones that are read alike and take its keys and values."""
    first: dict[Hashable, int] = {}
    twins: dict[int, list[int]] = {}
    for number, member in enumerate(members):
        same = first.setdefault((member.prompt, member.key), number)
        if same == number:
            twins[number] = []
        else:
            twins[same].append(number)
    return twins


def _passes(unread: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(first, last + 1) of rows that are read in one pass: of like length, not too many."""
    start = 0
    for end in range(1, len(unread) + 1):
        group = unread[start : end + 1]
        longest = max(group)
        if end == len(unread) or len(group) * longest > PASS or min(group) < SPREAD * longest:
            yield start, end
            start = end


def context(policy: Policy) -> int | None:
    """Tokens that the model can read; None where its configuration does not say."""
    limit = getattr(policy.model.config, "max_position_embeddings", None)
    return int(limit) if limit else None

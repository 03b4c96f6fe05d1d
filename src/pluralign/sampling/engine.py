"""The one decoder: requests in, completions out, each with its own condition, seed and settings.

Requests are batched by prompt length and share every step: one pass of the trunk with a key-value cache, one mixed
head. Where several members answer a request together (a mixture), each is a row with a cache of its own, and their
distributions are combined at every step. Requests that have ended leave the batch. A reply is a function of its request alone (up to rounding: padding and
batch size move logits by about 1e-5).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pluralign.data.condition import Condition
from pluralign.data.record import Message
from pluralign.errors import ConfigError, ModelError
from pluralign.policy import Policy
from pluralign.sampling.draws import distribution, draw, uniforms

KEPT_SHARE = 0.85
"""A batch is thinned when no more than this share of its rows still runs: thinning copies the cache."""


GREEDY = 1e-6
"""Below this temperature a draw is greedy: float32 logits divided by it would overflow."""


@dataclass(frozen=True, slots=True)
class Request:
    """One reply to make. `temperature` 0 is greedy; `top_p` in (0, 1]; `max_new_tokens` counts the end token.

    `prefix`: ids of an unfinished reply to go on with, not counted in `max_new_tokens`. What follows is drawn with the
    numbers that the whole reply would have used, so that a reply made in parts is the reply made at once.
    """

    messages: tuple[Message, ...]
    condition: Condition | None = None
    seed: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 128
    prefix: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not (0 <= self.temperature < math.inf):
            raise ConfigError(f"temperature must be finite and not negative, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p must be in (0, 1], got {self.top_p}")
        if self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens must be at least 1, got {self.max_new_tokens}")


@dataclass(frozen=True, slots=True)
class Completion:
    """A reply. `ids` include the end token if `finished`; `logprob` is the sum of log-probabilities (nats) under the
    distribution it was drawn from (after temperature and top_p; greedy: the untempered one). Text and ids begin with the
    request's prefix, `logprob` is of what was drawn after it (NaN where a search chose the reply: nobody knows it)."""

    text: str
    ids: tuple[int, ...]
    finished: bool
    logprob: float
    prompt_ids: tuple[int, ...]


class _Member(NamedTuple):
    """A row: its prompt's ids (the request's prefix last), its coefficients [C], its share of the distribution."""

    prompt: tuple[int, ...]
    coefficients: Tensor
    share: float


class Engine:
    """Decodes for one policy, `batch_size` rows at a time."""

    def __init__(self, policy: Policy, batch_size: int = 256) -> None:
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
        self.policy, self.batch_size = policy, batch_size

    def generate(self, requests: Sequence[Request], progress: Callable[[int], None] | None = None) -> list[Completion]:
        """Completions in the order of the requests; `progress` is told how many are done.

        Raises ConditionError for a condition outside the policy's bounds, ModelError where a prompt leaves no room.
        """
        asked = self._members(requests)
        completions: dict[int, Completion] = {}
        for places in self._batches([max(len(member.prompt) for member in members) for members in asked]):
            batch = _Batch(self.policy, [requests[place] for place in places], [asked[place] for place in places])
            completions.update(zip(places, batch.run(), strict=True))
            if progress:
                progress(len(places))
        return [completions[place] for place in range(len(requests))]

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Places in batches of similar prompt length; a batch of equal lengths needs no padding and no mask."""
        places: list[int] = []
        for place in sorted(range(len(lengths)), key=lambda place: lengths[place]):
            longer = bool(places) and lengths[place] > lengths[places[-1]]
            if len(places) == self.batch_size or (longer and 4 * len(places) >= self.batch_size):
                yield places
                places = []
            places.append(place)
        if places:
            yield places

    def _members(self, requests: Sequence[Request]) -> list[list[_Member]]:
        """The rows that answer each request, with their prompts and shares."""
        members = [self.policy.steering.members(self.policy.check(request.condition)) for request in requests]
        rows = iter(self.policy.coefficients([condition for each in members for condition, _ in each]))
        return [
            [_Member(self._prompt(request, condition), next(rows), share) for condition, share in each]
            for request, each in zip(requests, members, strict=True)
        ]

    def _prompt(self, request: Request, condition: Condition | None) -> tuple[int, ...]:
        encoder = self.policy.encoder
        if encoder.end_id in request.prefix:
            raise ModelError("the reply to go on with has ended already; leave the end token out of the prefix")
        prompt = encoder.prompt(self.policy.steering.write(request.messages, condition))
        reply = len(request.prefix) + request.max_new_tokens
        fitted = encoder.fit(prompt, reply)
        limit = context(self.policy)
        if fitted is None or (limit is not None and len(fitted.ids) + reply > limit):
            raise ModelError(
                f"a prompt of {len(prompt.ids)} tokens and a reply of {reply} do not fit "
                f"(context {limit}, max_length {encoder.max_length}); shorten the prompt or lower max_new_tokens"
            )
        if not fitted.ids:
            raise ModelError("the prompt has no tokens; give a prompt")
        return (*fitted.ids, *request.prefix)


def context(policy: Policy) -> int | None:
    """Tokens that the model can read; None where its configuration does not say."""
    limit = getattr(policy.model.config, "max_position_embeddings", None)
    return int(limit) if limit else None


class _Batch:
    """Requests that decode together. Letters: R requests still running, M rows of their members (R without a mixture).

    `rows` [R] are the requests still running, `members` [M] the rows of the cache, `owners` [M] the place in `rows` that
    each works for.
    """

    def __init__(self, policy: Policy, requests: Sequence[Request], members: Sequence[Sequence[_Member]]) -> None:
        self.policy, self.requests = policy, requests
        device = policy.device
        longest = max(request.max_new_tokens for request in requests)
        drawn = np.stack([np.resize(_uniforms(request), longest) for request in requests])
        self.uniforms = torch.from_numpy(drawn).to(device)
        self.limits = torch.tensor([request.max_new_tokens for request in requests], device=device)
        self.temperature = torch.tensor([request.temperature for request in requests], device=device)
        self.top_p = torch.tensor([request.top_p for request in requests], device=device)
        whole = [each[0].prompt for each in members]
        self.asked = [ids[: len(ids) - len(r.prefix)] for ids, r in zip(whole, requests, strict=True)]
        flat = [member for each in members for member in each]
        self.prompts = [member.prompt for member in flat]
        self.coefficients = torch.stack([member.coefficients for member in flat])
        self.shares = torch.tensor([member.share for member in flat], device=device)
        self.alone = len(flat) == len(requests) and bool((self.shares == 1.0).all())
        self.members = torch.arange(len(flat), device=device)
        sizes = torch.tensor([len(each) for each in members], device=device)
        self.rows = torch.arange(len(requests), device=device)
        self.owners = self.rows.repeat_interleave(sizes)
        self.tokens = torch.zeros(len(requests), longest, dtype=torch.long, device=device)
        self.lengths = torch.zeros(len(requests), dtype=torch.long, device=device)
        self.ended = torch.zeros(len(requests), dtype=torch.bool, device=device)
        self.padded = True
        self.last_place = (context(policy) or 2**31) - 1
        self.logprobs = torch.zeros(len(requests), dtype=torch.float64, device=device)

    @torch.no_grad()
    def run(self) -> Iterator[Completion]:
        """All replies, in the order of the requests."""
        from transformers import DynamicCache

        cache = DynamicCache(config=self.policy.model.config)
        logits, mask = self._prefill(cache)
        step = 0
        while True:
            tokens = self._choose(self._combined(logits), step)
            step += 1
            running = ~self.ended[self.rows]
            if not running.any():
                break
            if int(running.sum()) <= KEPT_SHARE * len(self.rows):
                tokens, mask = self._thin(running, tokens, mask, cache)
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
            logits = self._logits(tokens[self.owners], mask, cache, self.coefficients[self.members])
        return (self._completion(place) for place in range(len(self.requests)))

    def _thin(self, running: Tensor, tokens: Tensor, mask: Tensor, cache: Any) -> tuple[Tensor, Tensor]:
        """Let the requests go that have ended (running [R] false): their tokens, and mask and cache of their rows."""
        kept = running[self.owners].nonzero(as_tuple=True)[0]
        cache.batch_select_indices(kept)
        place = running.long().cumsum(0) - 1
        self.rows, self.members, self.owners = self.rows[running], self.members[kept], place[self.owners[kept]]
        return tokens[running], mask[kept]

    def _combined(self, logits: Tensor) -> Tensor:
        """Logits [M, V] of the members -> [R, V] of the requests."""
        if self.alone:
            return logits
        logprobs = logits.float().log_softmax(-1)
        return self.policy.steering.combine(logprobs, self.shares[self.members], self.owners, len(self.rows))

    def _prefill(self, cache: Any) -> tuple[Tensor, Tensor]:
        """Logits [M, V] after the prompts, and their mask; equal prompts under equal steering pass the trunk once."""
        trunk = self.coefficients[:, self.policy.steering.trunk_columns()].tolist()
        keys = (
            list(zip(self.prompts, map(tuple, trunk), strict=True)) if self.policy.fused else range(len(self.prompts))
        )
        first = {key: row for row, key in reversed(list(enumerate(keys)))}  # where a key occurs first
        rows = sorted(first.values())
        tokens, mask = self._padded([self.prompts[row] for row in rows])
        self.padded = not bool(mask.all())
        if len(rows) == len(keys):
            return self._logits(tokens, mask, cache, self.coefficients), mask
        hidden = self._hidden(tokens, mask, cache, self.coefficients[rows])
        place = {row: number for number, row in enumerate(rows)}
        copies = torch.tensor([place[first[key]] for key in keys], device=tokens.device)
        cache.batch_select_indices(copies)
        return self.policy.head.logits(hidden[copies], self.coefficients), mask[copies]

    def _padded(self, prompts: Sequence[tuple[int, ...]]) -> tuple[Tensor, Tensor]:
        """(input_ids, mask) [R, T], padded on the left so that all rows end together."""
        width = max(map(len, prompts))
        ids = [[0] * (width - len(prompt)) + list(prompt) for prompt in prompts]
        mask = [[False] * (width - len(prompt)) + [True] * len(prompt) for prompt in prompts]
        device = self.policy.device
        return torch.tensor(ids, device=device), torch.tensor(mask, device=device)

    def _logits(self, tokens: Tensor, mask: Tensor, cache: Any, coefficients: Tensor) -> Tensor:
        """Next-token logits [R, V]."""
        if self.policy.fused:
            return self.policy.head.logits(self._hidden(tokens, mask, cache, coefficients), coefficients)
        with self.policy.steering.steered(self.policy.model, coefficients):
            return self.policy.model(**self._inputs(tokens, mask, cache)).logits[:, -1]

    def _hidden(self, tokens: Tensor, mask: Tensor, cache: Any, coefficients: Tensor) -> Tensor:
        """The trunk's last hidden state [R, d]."""
        with self.policy.steering.steered(self.policy.model, coefficients):
            return self.policy.model.get_decoder()(**self._inputs(tokens, mask, cache)).last_hidden_state[:, -1]

    def _inputs(self, tokens: Tensor, mask: Tensor, cache: Any) -> dict[str, Any]:
        positions = (mask.long().cumsum(1) - 1).clamp(0, self.last_place)[:, -tokens.shape[1] :]
        return {
            "input_ids": tokens,
            "position_ids": positions,
            "past_key_values": cache,
            "attention_mask": mask.long() if self.padded else None,
            "use_cache": True,
        }

    def _choose(self, logits: Tensor, step: int) -> Tensor:
        """Next tokens [R, 1]; a row that has ended keeps its place until the batch is thinned, and is not recorded."""
        greedy = self.temperature[self.rows] < GREEDY
        safe = torch.where(greedy, 1.0, self.temperature[self.rows])
        logprobs = distribution(logits, safe, torch.where(greedy, 1.0, self.top_p[self.rows]))
        chosen = draw(logprobs, self.uniforms[self.rows, step])
        chosen = torch.where(greedy, logprobs.argmax(-1), chosen)
        running = ~self.ended[self.rows]
        rows, tokens = self.rows[running], chosen[running]
        self.logprobs[rows] += logprobs[running].gather(-1, tokens[:, None])[:, 0].double()
        self.tokens[rows, step] = tokens
        self.lengths[rows] += 1
        self.ended[rows] = (tokens == self.policy.encoder.end_id) | (self.limits[rows] <= step + 1)
        return chosen[:, None]

    def _completion(self, place: int) -> Completion:
        drawn, end = self.tokens[place, : self.lengths[place]].tolist(), self.policy.encoder.end_id
        ids = [*self.requests[place].prefix, *drawn]
        finished = bool(ids) and ids[-1] == end
        text = self.policy.encoder.decode(ids[:-1] if finished else ids)
        return Completion(text, tuple(ids), finished, float(self.logprobs[place]), self.asked[place])


def _uniforms(request: Request) -> np.ndarray:
    """The numbers of the tokens after the prefix [max_new_tokens]."""
    begun = len(request.prefix)
    return uniforms(request.seed, begun + request.max_new_tokens)[begun:]

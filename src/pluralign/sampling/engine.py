"""The one decoder: requests in, completions out, each with its own condition, seed and settings.

Requests are batched by prompt length and share every step: one pass of the trunk with a key-value cache, one mixed
head. Where several members answer a request together (a mixture), each is a row with a cache of its own, in the stream of
the model that reads it, and their distributions are combined at every step. Requests that have ended leave the batch. A reply is a function of its request alone (up to rounding: padding and
batch size move logits by about 1e-5).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pluralign.data.condition import Condition
from pluralign.data.record import Message
from pluralign.errors import ConfigError, ModelError
from pluralign.members import members_of
from pluralign.policy import Policy
from pluralign.sampling.draws import distribution, draw, uniforms
from pluralign.sampling.streams import Stream, Written, context

KEPT_SHARE = 0.85
"""A batch is thinned when no more than this share of its rows still runs: thinning copies the cache."""


GREEDY = 1e-6
"""Below this temperature a draw is greedy: float32 logits divided by it would overflow."""


@dataclass(frozen=True, slots=True)
class Request:
    """One reply to make. `temperature` 0 is greedy; `top_p` in (0, 1]; `max_new_tokens` counts the end token.

    `prefix`: ids of an unfinished reply to go on with, not counted in `max_new_tokens`. What follows is drawn with the
    numbers that the whole reply would have used, so that a reply made in parts is the reply made at once. `room`: tokens
    that the whole reply may come to, where more parts will follow: a long prompt is cut for it once, not more each time.
    """

    messages: tuple[Message, ...]
    condition: Condition | None = None
    seed: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 128
    prefix: tuple[int, ...] = ()
    room: int = 0

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
        asked = self._rows(requests)
        completions: dict[int, Completion] = {}
        for places in self._batches([max(len(row.prompt) for _, row in rows) for rows in asked]):
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

    def _rows(self, requests: Sequence[Request]) -> list[list[tuple[int, Written]]]:
        """The rows that answer each request, each with the number of the model that reads it."""
        asked = [members_of(self.policy, self.policy.check(request.condition)) for request in requests]
        flat = [(owner, member) for owner, members in enumerate(asked) for member in members]
        rows: list[list[tuple[int, Written]]] = [[] for _ in requests]
        for place, model in enumerate(self.policy.models):
            own = [(owner, member) for owner, member in flat if member.model == place]
            coefficients = model.coefficients([member.condition for _, member in own])
            for (owner, member), numbers in zip(own, coefficients, strict=True):
                prompt = _prompt(model, requests[owner], member.condition)
                rows[owner].append((place, Written(prompt, numbers, member.share, owner)))
        return rows


def _prompt(policy: Policy, request: Request, condition: Condition | None) -> tuple[int, ...]:
    encoder = policy.encoder
    if encoder.end_id in request.prefix:
        raise ModelError("the reply to go on with has ended already; leave the end token out of the prefix")
    prompt = encoder.prompt(policy.steering.write(request.messages, condition))
    reply = max(request.room, len(request.prefix) + request.max_new_tokens)
    fitted = encoder.fit(prompt, reply)
    limit = context(policy)
    if fitted is None or (limit is not None and len(fitted.ids) + reply > limit):
        raise ModelError(
            f"a prompt of {len(prompt.ids)} tokens and a reply of {reply} do not fit "
            f"(context {limit}, max_length {encoder.max_length}); shorten the prompt or lower max_new_tokens"
        )
    if not fitted.ids:
        raise ModelError("the prompt has no tokens; give a prompt")
    return (*fitted.ids, *request.prefix)


class _Batch:
    """Requests that decode together; `rows` [R] are those still running. Every model has a stream of its own."""

    def __init__(
        self, policy: Policy, requests: Sequence[Request], rows: Sequence[Sequence[tuple[int, Written]]]
    ) -> None:
        from transformers import DynamicCache

        self.policy, self.requests = policy, requests
        device = policy.device
        longest = max(request.max_new_tokens for request in requests)
        drawn = np.stack([np.resize(_uniforms(request), longest) for request in requests])
        self.uniforms = torch.from_numpy(drawn).to(device)
        self.limits = torch.tensor([request.max_new_tokens for request in requests], device=device)
        self.temperature = torch.tensor([request.temperature for request in requests], device=device)
        self.top_p = torch.tensor([request.top_p for request in requests], device=device)
        whole = [each[0][1].prompt for each in rows]
        self.asked = [ids[: len(ids) - len(r.prefix)] for ids, r in zip(whole, requests, strict=True)]
        flat = [(place, row._replace(owner=owner)) for owner, each in enumerate(rows) for place, row in each]
        self.streams = [
            Stream(model, own, DynamicCache(config=model.model.config))
            for place, model in enumerate(policy.models)
            if (own := [row for number, row in flat if number == place])
        ]
        self.alone = len(flat) == len(requests) and all(row.share == 1.0 for _, row in flat)
        self.rows = torch.arange(len(requests), device=device)
        self.tokens = torch.zeros(len(requests), longest, dtype=torch.long, device=device)
        self.lengths = torch.zeros(len(requests), dtype=torch.long, device=device)
        self.ended = torch.zeros(len(requests), dtype=torch.bool, device=device)
        self.logprobs = torch.zeros(len(requests), dtype=torch.float64, device=device)

    @torch.no_grad()
    def run(self) -> Iterator[Completion]:
        """All replies, in the order of the requests."""
        logits = [stream.prefill() for stream in self.streams]
        step = 0
        while True:
            tokens = self._choose(self._combined(logits), step)
            step += 1
            running = ~self.ended[self.rows]
            if not running.any():
                break
            if int(running.sum()) <= KEPT_SHARE * len(self.rows):
                tokens = self._thin(running, tokens)
            logits = [stream.step(tokens) for stream in self.streams]
        return (self._completion(place) for place in range(len(self.requests)))

    def _thin(self, running: Tensor, tokens: Tensor) -> Tensor:
        """Let the requests go that have ended (running [R] false); the tokens of the others."""
        for stream in self.streams:
            stream.thin(running)
        self.streams = [stream for stream in self.streams if len(stream.owners)]
        self.rows = self.rows[running]
        return tokens[running]

    def _combined(self, logits: Sequence[Tensor]) -> Tensor:
        """Logits [M, V] of each stream -> [R, V] of the requests."""
        if self.alone:
            return logits[0]
        width = min(each.shape[1] for each in logits)  # vocabularies are one, but may be padded differently
        logprobs = torch.cat([each[:, :width].float().log_softmax(-1) for each in logits])
        shares = torch.cat([stream.shares for stream in self.streams])
        owners = torch.cat([stream.owners for stream in self.streams])
        return self.policy.steering.combine(logprobs, shares, owners, len(self.rows))

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

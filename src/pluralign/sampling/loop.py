"""The decoding loop: requests join and leave between steps, and share every step in between.

One step is one token for every running request: one pass of the trunk over all rows, one mixed head under as many
conditions as there are rows, one draw each. Where several members answer a request together (a mixture), each is a row
with a cache of its own, in the stream of the model that reads it, and their distributions are combined at every step. A
reply is a function of its request alone (up to rounding: padding and batch size move logits by about 1e-5).

Letters: R requests running, V vocabulary.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pluralign.errors import ConfigError, ModelError
from pluralign.policy import Policy
from pluralign.sampling.draws import distribution, draw, uniforms
from pluralign.sampling.request import Completion, Request, Rows, rows_for
from pluralign.sampling.streams import Stream

GREEDY = 1e-6
"""Below this temperature a draw is greedy: float32 logits divided by it would overflow."""


class Drawn(NamedTuple):
    """A token of a request. `logprob` (nats) under the distribution that it was drawn from (temperature, top_p). Where
    the request names `top_logprobs`: `own` is its log-probability under the steered model itself (temperature 1, all
    tokens), and `top` the likeliest ones, (id, log-probability) each. `ended`: its last (end token, or the limit)."""

    ticket: int
    token: int
    logprob: float
    own: float
    top: tuple[tuple[int, float], ...]
    ended: bool


@dataclass(slots=True)
class _Reply:
    """A request in the making."""

    ticket: int
    request: Request
    rows: Rows
    uniforms: np.ndarray
    ids: list[int] = field(default_factory=list)
    logprob: float = 0.0


class Loop:
    """Decodes for one policy, at most `rows` rows of its cache at a time. One thread steps it.

    `prefix_tokens`: how many tokens of read prompts (and of what was answered to them) are remembered for the prompts to
    come. `cache_tokens`: rows times the longest row that may come to be, at most; None: `rows` alone is the bound.
    Raises ConfigError for settings below 1, ModelError for a model whose state is not keys and values alone.
    """

    def __init__(self, policy: Policy, rows: int = 64, prefix_tokens: int = 0, cache_tokens: int | None = None) -> None:
        for name, value in (("rows", rows), ("cache_tokens", 1 if cache_tokens is None else cache_tokens)):
            if value < 1:
                raise ConfigError(f"{name} must be at least 1, got {value}")
        if prefix_tokens < 0:
            raise ConfigError(f"prefix_tokens must not be negative, got {prefix_tokens}")
        self.policy, self.rows, self.cache_tokens = policy, rows, cache_tokens
        self.streams = [Stream(model, prefix_tokens) for model in policy.models]
        self._tickets = count()
        self._waiting: deque[_Reply] = deque()
        self._running: list[_Reply] = []
        self._left: set[int] = set()
        self._taken = 0
        self._settings: tuple[Tensor, Tensor] | None = None

    @property
    def running(self) -> int:
        """Requests that have joined or will at the next step."""
        return len(self._running) + len(self._waiting) - len(self._left)

    @property
    def free(self) -> int:
        """Rows that nobody has (those of the ended and cancelled are free after the next step)."""
        return self.rows - self._taken

    def check(self, request: Request) -> int:
        """The rows that a request needs; raises what `add` would, whoever is running. Safe from any thread."""
        return self.fits(request, rows_for(self.policy, request))

    def add(self, request: Request) -> int:
        """A ticket; the request joins at the next step.

        Raises ConditionError for a condition outside the policy's bounds, ModelError where the prompt leaves no room,
        ConfigError where rows are missing: ask `has_room` first.
        """
        rows = rows_for(self.policy, request)
        self.fits(request, rows)
        if not self._has_room(request, rows):
            raise ConfigError(f"no room: {self.free} of {self.rows} rows are free; step until some have ended")
        return self.enter(request, rows)

    def enter(self, request: Request, rows: Rows) -> int:
        """`add` for a caller who has made the rows of the request and knows that there is room."""
        reply = _Reply(next(self._tickets), request, rows, _uniforms(request))
        self._waiting.append(reply)
        self._taken += len(rows)
        return reply.ticket

    def has_room(self, request: Request) -> bool:
        """Whether `add` would take it now; raises for what it never takes."""
        rows = rows_for(self.policy, request)
        self.fits(request, rows)
        return self._has_room(request, rows)

    def cancel(self, ticket: int) -> None:
        """Its request leaves before the next step; nothing happens where it has ended."""
        if any(reply.ticket == ticket for reply in (*self._running, *self._waiting)):
            self._left.add(ticket)

    @torch.no_grad()
    def step(self) -> list[Drawn]:
        """One token for every request that runs, in the order in which they were added."""
        self._thin()
        parts: list[tuple[Tensor, Tensor, Tensor]] = []
        if self._running:
            last = torch.tensor([reply.ids[-1] for reply in self._running], device=self.policy.device)
            parts += [(s.step(last), s.shares, s.owners) for s in self.streams if s.rows]
        parts += self._join()
        if not self._running:
            return []
        return self._choose(self._combined(parts))

    def completion(self, ticket: int) -> Completion:
        """What a running or just ended request has come to; KeyError for a ticket that is gone."""
        for reply in self._running:
            if reply.ticket == ticket:
                return _completion(self.policy, reply)
        raise KeyError(ticket)

    # -- joining and leaving ---------------------------------------------------------------------------------------

    def fits(self, request: Request, rows: Rows) -> int:
        """`check` for a caller who has made the rows of the request."""
        if len(rows) > self.rows:
            raise ConfigError(f"{len(rows)} members answer this request, more than the {self.rows} rows there are")
        if self.cache_tokens is not None and len(rows) * _need(request, rows) > self.cache_tokens:
            raise ModelError(
                f"a prompt of {len(rows[0][1].prompt)} tokens and a reply of {request.max_new_tokens} need more than the "
                f"cache of {self.cache_tokens} tokens; shorten the prompt or lower max_new_tokens"
            )
        return len(rows)

    def _has_room(self, request: Request, rows: Rows) -> bool:
        if len(rows) > self.free:
            return False
        if self.cache_tokens is None:
            return True
        there = [r for r in (*self._running, *self._waiting) if r.ticket not in self._left]
        longest = max([_need(request, rows), *(_need(reply.request, reply.rows) for reply in there)])
        return longest * (self.rows - self.free + len(rows)) <= self.cache_tokens

    def _thin(self) -> None:
        """Let those go that have ended or been cancelled."""
        going = [reply.ticket in self._left or _ended(self.policy, reply) for reply in self._running]
        gone = [reply for reply in self._waiting if reply.ticket in self._left]
        self._waiting = deque(reply for reply in self._waiting if reply.ticket not in self._left)
        gone += [reply for reply, goes in zip(self._running, going, strict=True) if goes]
        self._taken -= sum(len(reply.rows) for reply in gone)
        self._left.clear()
        if not any(going):
            return
        for place, reply in enumerate(self._running):
            if going[place]:
                for stream in self.streams:
                    stream.leave(place, reply.ids[:-1], math.isfinite(reply.logprob))
        running = torch.tensor([not goes for goes in going], device=self.policy.device)
        for stream in self.streams:
            stream.thin(running)
        self._running = [reply for reply, goes in zip(self._running, going, strict=True) if not goes]
        self._settings = None

    def _join(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """(logits [N, V], shares [N], owners [N]) of those who have been waiting, stream by stream."""
        parts = []
        first = len(self._running)
        self._running += self._waiting
        self._waiting.clear()
        flat = [
            (number, row._replace(owner=place))
            for place, reply in enumerate(self._running[first:], first)
            for number, row in reply.rows
        ]
        for number, stream in enumerate(self.streams):
            own = [row for place, row in flat if place == number]
            if own:
                logits = stream.join(own)
                parts.append((logits, stream.shares[-len(own) :], stream.owners[-len(own) :]))
        if flat:
            self._settings = None
        return parts

    # -- choosing --------------------------------------------------------------------------------------------------

    def _combined(self, parts: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
        """Logits of members, stream by stream -> [R, V] of the requests."""
        shares = torch.cat([part[1] for part in parts])
        owners = torch.cat([part[2] for part in parts])
        if len(shares) == len(self._running) and bool((shares == 1.0).all()):
            logits = torch.cat([part[0] for part in parts]) if len(parts) > 1 else parts[0][0]
            return logits if bool((owners.diff() > 0).all()) else logits[owners.argsort()]
        width = min(part[0].shape[1] for part in parts)  # vocabularies are one, but may be padded differently
        logprobs = torch.cat([part[0][:, :width].float().log_softmax(-1) for part in parts])
        return self.policy.steering.combine(logprobs, shares, owners, len(self._running))

    def _choose(self, logits: Tensor) -> list[Drawn]:
        """A token for each: logits [R, V]."""
        temperature, top_p = self._asked()
        greedy = temperature < GREEDY
        safe = torch.where(greedy, 1.0, temperature)
        logprobs = distribution(logits, safe, torch.where(greedy, 1.0, top_p))
        numbers = [reply.uniforms[len(reply.ids)] for reply in self._running]
        chosen = draw(logprobs, torch.tensor(numbers, dtype=torch.float64, device=logits.device))
        if any(reply.request.temperature < GREEDY for reply in self._running):
            chosen = torch.where(greedy, logprobs.argmax(-1), chosen)
        found = logprobs.gather(-1, chosen[:, None])[:, 0].double().tolist()
        named = self._named(logits, chosen)
        drawn = []
        for place, (reply, token, logprob) in enumerate(zip(self._running, chosen.tolist(), found, strict=True)):
            reply.ids.append(token)
            reply.logprob += logprob
            own, top = named.get(place, (logprob, ()))
            drawn.append(Drawn(reply.ticket, token, logprob, own, top, _ended(self.policy, reply)))
        return drawn

    def _asked(self) -> tuple[Tensor, Tensor]:
        """(temperature [R], top_p [R])."""
        if self._settings is None:
            pairs = [(reply.request.temperature, reply.request.top_p) for reply in self._running]
            temperature, top_p = torch.tensor(pairs, device=self.policy.device).unbind(1)
            self._settings = temperature, top_p
        return self._settings

    def _named(self, logits: Tensor, chosen: Tensor) -> dict[int, tuple[float, tuple[tuple[int, float], ...]]]:
        """(own, top) of the requests that want them, by place."""
        found = {}
        for place, reply in enumerate(self._running):
            num = reply.request.top_logprobs
            if num is not None:
                logprobs = logits[place].float().log_softmax(-1)
                top = logprobs.topk(min(num, len(logprobs)))
                pairs = tuple(zip(top.indices.tolist(), top.values.tolist(), strict=True))
                found[place] = (float(logprobs[chosen[place]]), pairs)
        return found


def _uniforms(request: Request) -> np.ndarray:
    """The numbers of the tokens after the prefix [max_new_tokens]."""
    begun = len(request.prefix)
    return uniforms(request.seed, begun + request.max_new_tokens)[begun:]


def _need(request: Request, rows: Rows) -> int:
    """Tokens that the longest row may come to."""
    return max(len(row.prompt) for _, row in rows) + request.max_new_tokens


def _ended(policy: Policy, reply: _Reply) -> bool:
    return bool(reply.ids) and (
        reply.ids[-1] == policy.encoder.end_id or len(reply.ids) >= reply.request.max_new_tokens
    )


def _completion(policy: Policy, reply: _Reply) -> Completion:
    request, end = reply.request, policy.encoder.end_id
    ids = [*request.prefix, *reply.ids]
    finished = bool(ids) and ids[-1] == end
    text = policy.encoder.decode(ids[:-1] if finished else ids)
    prompt = reply.rows[0][1].prompt
    return Completion(text, tuple(ids), finished, reply.logprob, prompt[: len(prompt) - len(request.prefix)])

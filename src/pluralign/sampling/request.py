"""What is asked of a decoder, what it answers, and the rows that a request takes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pluralign.data.condition import Condition
from pluralign.data.record import Message
from pluralign.errors import ConfigError, ModelError
from pluralign.members import members_of
from pluralign.policy import Policy
from pluralign.sampling.streams import Written, context


@dataclass(frozen=True, slots=True)
class Request:
    """One reply to make. `temperature` 0 is greedy; `top_p` in (0, 1]; `max_new_tokens` counts the end token.

    `prefix`: ids of an unfinished reply to go on with, not counted in `max_new_tokens`. What follows is drawn with the
    numbers that the whole reply would have used, so that a reply made in parts is the reply made at once. `room`: tokens
    that the whole reply may come to, where more parts will follow: a long prompt is cut for it once, not more each time.
    `top_logprobs`: how many of the likeliest tokens to name at each step (None: no log-probabilities of the model's own).
    """

    messages: tuple[Message, ...]
    condition: Condition | None = None
    seed: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 128
    prefix: tuple[int, ...] = ()
    room: int = 0
    top_logprobs: int | None = None

    def __post_init__(self) -> None:
        if not (0 <= self.temperature < math.inf):
            raise ConfigError(f"temperature must be finite and not negative, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p must be in (0, 1], got {self.top_p}")
        if self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens must be at least 1, got {self.max_new_tokens}")
        if self.top_logprobs is not None and self.top_logprobs < 0:
            raise ConfigError(f"top_logprobs must not be negative, got {self.top_logprobs}")


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


Rows = list[tuple[int, Written]]
"""The rows of one request, each with the number of the model that reads it (0: the policy's own)."""


def rows_for(policy: Policy, request: Request) -> Rows:
    """The rows that answer a request (owner 0).

    Raises ConditionError for a condition outside the policy's bounds, ModelError where the prompt leaves no room.
    """
    rows: Rows = []
    for member in members_of(policy, policy.check(request.condition)):
        model = policy.models[member.model]
        coefficients = model.coefficients([member.condition])[0]
        key = model.steering.cache_key(member.condition)
        if not model.fused:  # what its rows share is their logits, and these depend on the head's coefficients
            key = (key, tuple(coefficients.tolist()))
        prompt = (*_prompt(model, request, member.condition), *request.prefix)
        rows.append((member.model, Written(prompt, coefficients, member.share, key, 0)))
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
    return tuple(fitted.ids)

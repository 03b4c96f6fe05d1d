"""A request's body -> what the decoder is asked. All that can be wrong with it is found here, before anything waits."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pluralign.data.condition import Condition
from pluralign.data.record import Message, user
from pluralign.errors import DataError, ModelError
from pluralign.members import members_of
from pluralign.sampling.request import Request
from pluralign.sampling.streams import context
from pluralign.serving.problems import Wrong
from pluralign.serving.schemas import Asked, ChatRequest, CompletionRequest
from pluralign.serving.settings import ServeSettings
from pluralign.serving.steering_field import Presets, Steered, read_steering, split_model

if TYPE_CHECKING:
    from pluralign.policy import Policy
    from pluralign.serving.worker import Worker

COMPLETION_TOKENS = 16
"""Tokens of a completion where the request does not say (the OpenAI API's default)."""
LONGEST_TOKEN = 16
"""Letters of a prompt for each token of the context, at most: texts have about four."""
LEAST_MASS = 1e-9
"""A top_p of 0 keeps the likeliest token, as any mass above 0 does."""


class Question(NamedTuple):
    """What a request asks of which worker. `requests`: the n replies to the first prompt, then those to the next."""

    worker: Worker
    steered: Steered
    requests: list[Request]
    stops: tuple[str, ...]
    num_each: int


def chat_question(
    body: ChatRequest, workers: Mapping[str, Worker], presets: Mapping[str, Presets], settings: ServeSettings
) -> Question:
    """One dialogue. Raises Wrong, ModelError, DataError."""
    roles = {"developer": "system"}
    messages = tuple(Message(roles.get(m.role, m.role), m.content) for m in body.messages)
    limit = body.max_completion_tokens if body.max_tokens is None else body.max_tokens
    named = (body.top_logprobs or 0) if body.logprobs else None
    return _question(body, [messages], limit, named, workers, presets, settings)


def completion_question(
    body: CompletionRequest, workers: Mapping[str, Worker], presets: Mapping[str, Presets], settings: ServeSettings
) -> Question:
    """One or more prompts, each a user's turn. Raises Wrong, ModelError, DataError."""
    limit = COMPLETION_TOKENS if body.max_tokens is None else body.max_tokens
    return _question(body, [user(text) for text in body.prompt], limit, body.logprobs, workers, presets, settings)


def _question(
    body: Asked,
    dialogues: Sequence[tuple[Message, ...]],
    limit: int | None,
    top_logprobs: int | None,
    workers: Mapping[str, Worker],
    presets: Mapping[str, Presets],
    settings: ServeSettings,
) -> Question:
    name, suffix = split_model(body.model, workers)
    worker, num = workers[name], body.n or 1
    steered = read_steering(worker.policy, presets.get(name, {}), suffix, body.steering)
    if len(dialogues) * num > settings.max_replies:
        raise Wrong(
            f"{len(dialogues)} prompts with n={num} are more than the {settings.max_replies} replies that this server "
            "makes for one request; ask for fewer",
            "n",
        )
    seed = secrets.randbits(64) if body.seed is None else body.seed % 2**64
    param = "messages" if isinstance(body, ChatRequest) else "prompt"
    requests: list[Request] = []
    for messages in dialogues:
        length = _length(worker.policy, messages, steered.condition, limit, settings, param)
        for _ in range(num):
            own = (seed << 32) + len(requests)  # the seeds of `sampling.local.complete`: the same replies
            temperature = 1.0 if body.temperature is None else body.temperature
            top_p = 1.0 if body.top_p is None else max(body.top_p, LEAST_MASS)
            asked = Request(messages, steered.condition, own, temperature, top_p, length, top_logprobs=top_logprobs)
            requests.append(asked)
    return Question(worker, steered, requests, tuple(body.stop or ()), num)


def _length(
    policy: Policy,
    messages: tuple[Message, ...],
    condition: Condition | None,
    limit: int | None,
    settings: ServeSettings,
    param: str,
) -> int:
    """Tokens that the reply may have: `limit`, or what the context and the server leave. Prompts are never cut."""
    if limit is not None and limit > settings.max_tokens:
        raise Wrong(f"max_tokens is at most {settings.max_tokens} on this server, got {limit}", "max_tokens")
    _refuse_far_too_long(policy, messages, param)
    try:
        room, prompt, whole = _room(policy, messages, condition)
    except (DataError, ModelError) as error:  # the template refuses the dialogue
        raise Wrong(str(error), param) from error
    wanted = settings.max_tokens if limit is None else limit
    if room is None or wanted <= room:
        return wanted
    if limit is None and room > 0:
        return room
    raise Wrong(
        f"the context of this model is {whole} tokens, and the prompt takes {prompt} of them (what it is asked for "
        f"included), the reply {limit or 1}; shorten the prompt or lower max_tokens",
        param,
        "context_length_exceeded",
        status=400,
    )


def _refuse_far_too_long(policy: Policy, messages: tuple[Message, ...], param: str) -> None:
    """Raise Wrong for what no tokenizer makes fit, before it is encoded: that would take seconds of everybody's."""
    whole, letters = _whole(policy), sum(len(message.content) for message in messages)
    if whole is not None and letters > LONGEST_TOKEN * whole:
        raise Wrong(
            f"the context of this model is {whole} tokens, and the prompt has {letters} letters; shorten it",
            param,
            "context_length_exceeded",
            status=400,
        )


def _whole(policy: Policy) -> int | None:
    """Tokens of the context; None where there is no limit."""
    return min((limit for limit in (policy.encoder.max_length, context(policy)) if limit is not None), default=None)


def _room(
    policy: Policy, messages: tuple[Message, ...], condition: Condition | None
) -> tuple[int | None, int, int | None]:
    """(tokens left for the reply, of the prompt, of the context), where there is least room; None: no limit."""
    found: list[tuple[int | None, int, int | None]] = []
    for member in members_of(policy, policy.check(condition)):
        model = policy.models[member.model]
        prompt = len(model.encoder.prompt(model.steering.write(messages, member.condition)).ids)
        whole = _whole(model)
        found.append((None if whole is None else whole - prompt, prompt, whole))
    return min(found, key=lambda each: float("inf") if each[0] is None else each[0])

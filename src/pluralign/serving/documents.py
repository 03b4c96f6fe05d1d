"""What /docs and /openapi.json say: examples of requests that the served model answers, and the shapes of responses (which the tests hold replies to)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from pluralign.data.condition import Feedback, Targets, Weights
from pluralign.errors import ConditionError
from pluralign.serving.steering_field import Presets

if TYPE_CHECKING:
    from pluralign.policy import Policy

DESCRIPTION = """
An OpenAI-compatible server for steerable models: every request carries its own trade-off, in the field `steering` or
after an `@` in the model's name (`name@helpful=0.7,funny=0.3`, `name@preset`). `GET /v1/models` says what each model
can be asked for. What the OpenAI API has and this server does not (tools, audio, penalties ...) is refused by name.
"""


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Usage(_Shape):
    """Tokens. `completion_tokens` counts all that were drawn, end tokens and stop strings too."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class TopLogprob(_Shape):
    """A likely token: `bytes` are its UTF-8, part of a character too."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(TopLogprob):
    """A token of the reply; nats under the steered model itself, before temperature and top_p."""

    top_logprobs: list[TopLogprob]


class ChatLogprobs(_Shape):
    """A reply's tokens."""

    content: list[TokenLogprob]
    refusal: None


class ReplyMessage(_Shape):
    """What the model said."""

    role: Literal["assistant"]
    content: str
    refusal: None


class ChatChoice(_Shape):
    """One reply."""

    index: int
    message: ReplyMessage
    logprobs: ChatLogprobs | None
    finish_reason: Literal["stop", "length"]


class _Head(_Shape):
    id: str
    created: int
    model: str
    system_fingerprint: str
    usage: Usage
    steering: dict[str, Any] | None = Field(description="the condition used; null where none was asked")


class ChatReply(_Head):
    """Replies to a chat."""

    object: Literal["chat.completion"]
    choices: list[ChatChoice]


class TextLogprobs(_Shape):
    """A reply's tokens, in columns."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class TextChoice(_Shape):
    """One reply."""

    index: int
    text: str
    logprobs: TextLogprobs | None
    finish_reason: Literal["stop", "length"]


class TextReply(_Head):
    """Replies to prompts."""

    object: Literal["text_completion"]
    choices: list[TextChoice]


class ErrorFacts(_Shape):
    """What is wrong, in words and for programs."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorReply(_Shape):
    """Any error."""

    error: ErrorFacts


class Model(BaseModel):
    """A policy (`steering`: what it can be asked for), or a preset of one (`parent`, `condition`)."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    steering: dict[str, Any] | None = None
    parent: str | None = None
    condition: dict[str, Any] | None = None


class ModelList(_Shape):
    """Every model."""

    object: Literal["list"]
    data: list[Model]


class Health(_Shape):
    """Whether each model answers ("ok"), or why it does not."""

    status: Literal["ok", "failing"]
    models: dict[str, str]


def json_response(value: Any, status: int = 200) -> Response:
    """JSON in ASCII."""
    return Response(json.dumps(value), status, media_type="application/json")


_STREAM = {
    "schema": {  # before OpenAPI 3.2 it describes each event
        "type": "object",
        "properties": {"data": {"type": "string", "description": "a chunk's JSON; at the end [DONE]"}},
        "required": ["data"],
    },
    "example": 'data: {"object": "chat.completion.chunk", ...}\n\ndata: [DONE]\n\n',
}
_ERRORS = {
    400: "no JSON, or more tokens than the context",
    404: "no such model",
    422: "wrong in some field, which is named with what is allowed",
    429: "too much for now; Retry-After says when to come again",
    500: "the decoder broke",
    503: "shutting down",
    504: "took too long",
}


def _answers(reply: type[BaseModel], *errors: int) -> dict[int | str, dict[str, Any]]:
    told: dict[int | str, dict[str, Any]] = {n: {"model": ErrorReply, "description": _ERRORS[n]} for n in errors}
    return {200: {"model": reply, "description": "as asked"}} | told


def _route(summary: str, reply: type[BaseModel], *errors: int, **others: Any) -> dict[str, Any]:
    return {"summary": summary, "response_model": None, "responses": _answers(reply, *errors), **others}


def reply_route(summary: str, reply: type[BaseModel], examples: Mapping[str, Any]) -> dict[str, Any]:
    """What FastAPI is told of a path that gives replies."""
    route = _route(summary, reply, *_ERRORS)
    route["responses"][200] |= {"description": "replies, or events of them", "content": {"text/event-stream": _STREAM}}
    shown = {name: {"summary": name, "value": value} for name, value in examples.items()}
    return route | {"openapi_extra": {"requestBody": {"content": {"application/json": {"examples": shown}}}}}


def chat_examples(name: str, policy: Policy, presets: Presets) -> dict[str, dict[str, Any]]:
    """Bodies that this model answers, one for each way to steer it."""
    ask = {"model": name, "messages": [{"role": "user", "content": "My printer is broken."}], "max_tokens": 60}
    one, kinds = policy.objectives[0] if policy.objectives else None, policy.steering.accepts
    found: dict[str, dict[str, Any]] = {}
    if one and Weights in kinds:
        found["a trade-off"] = ask | {"steering": {"weights": _trade_off(policy)}}
        said = str(Weights(_trade_off(policy)))
        found["in the model's name, streamed"] = ask | {"model": f"{name}@{said}", "stream": True}
    if one and Targets in kinds and not found:
        found["scores to aim at"] = ask | {"steering": {"targets": {one.name: one.high}}}
    if Feedback in kinds:
        found["words"] = ask | {"steering": {"feedback": "kind, and in one sentence"}, "n": 2}
    for preset in list(presets)[:1]:
        found["a preset"] = ask | {"steering": {"preset": preset}, "seed": 1}
    return found | {"without steering": ask | {"temperature": 0}}


def text_examples(name: str, policy: Policy, presets: Presets) -> dict[str, dict[str, Any]]:
    """The same as prompts."""
    chats = chat_examples(name, policy, presets)
    return {
        told: {"prompt": "My printer is broken.", **{key: value for key, value in body.items() if key != "messages"}}
        for told, body in chats.items()
    }


def _trade_off(policy: Policy) -> dict[str, float]:
    """Weights inside the bounds: more of the first objective than of the second, where the bounds are the usual ones."""
    names = [objective.name for objective in policy.objectives]
    usual = {names[0]: 1.0} if len(names) == 1 else {names[0]: 0.7, names[1]: 0.3}
    try:
        policy.check(Weights(usual))
    except ConditionError:
        low = {name: policy.bounds.ranges.get(name, (0.0, 1.0))[0] for name in names}
        spare = 1.0 - sum(low.values())
        for name in names if policy.bounds.simplex else ():
            more = min(spare, policy.bounds.ranges.get(name, (0.0, 1.0))[1] - low[name])
            low[name], spare = low[name] + more, spare - more
        return low
    return usual


MODELS = _route("Policies, and their presets as models of their own", ModelList)
MODEL = _route("One of them", Model, 404)
HEALTH = _route("Whether the server answers", Health)
HEALTH["responses"][503] = {"model": Health, "description": "some model does not"}

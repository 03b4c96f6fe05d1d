"""What requests look like: the OpenAI API's fields that this server has, with strict types and ranges, and `steering`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from pluralign.serving.neutral import CHAT, COMPLETION, MESSAGE, STREAM, without_neutral

MOST_STOPS = 4
_NUMBERS = {"type": "object", "minProperties": 1, "additionalProperties": {"type": "number"}}
_STRENGTH = {"type": "number", "default": 1, "description": "how strongly; 1 is the trained strength"}
STEERING = {
    "title": "Steering",
    "description": (
        "What the reply is asked for: exactly one of weights (a trade-off), targets (scores in the objectives' units), "
        "feedback (words) or preset (a name); GET /v1/models says which ones a model takes. Left out: nothing is asked."
    ),
    "anyOf": [
        *(
            {
                "type": "object",
                "properties": {kind: value, "strength": _STRENGTH},
                "required": [kind],
                "additionalProperties": False,
            }
            for kind, value in (
                ("weights", _NUMBERS),
                ("targets", _NUMBERS),
                ("feedback", {"type": "string", "minLength": 1}),
            )
        ),
        {
            "type": "object",
            "properties": {"preset": {"type": "string"}},
            "required": ["preset"],
            "additionalProperties": False,
        },
        {"type": "null"},
    ],
    "examples": [{"weights": {"helpful": 0.7, "funny": 0.3}}],
}


def _text_of(content: Any) -> Any:
    """Content parts of text, joined; anything else as it is."""
    if not isinstance(content, list):
        return content
    for number, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text" or not isinstance(part.get("text"), str) or set(part) != {"type", "text"}:
            raise ValueError(f"part {number} must be {{'type': 'text', 'text': ...}}: the models read text only")
    return "".join(part["text"] for part in content)


def _texts(what: str, most: int | None = None) -> Any:
    """A text or a list of texts -> a list."""

    def read(given: Any) -> Any:
        if isinstance(given, str):
            return [given]
        fits = isinstance(given, list) and (most is None or len(given) <= most)
        if not fits or not all(isinstance(text, str) for text in given):
            raise ValueError(f"must be a text or a list of {f'at most {most} ' if most else ''}texts{what}")
        return given

    return read


_ONE_OR_MORE = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
_STOP = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "items": {"type": "string", "minLength": 1}, "maxItems": MOST_STOPS},
        {"type": "null"},
    ],
    "description": f"up to {MOST_STOPS} strings that end the reply and are not part of it",
}
_PARTS = {
    "type": "object",
    "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
    "required": ["type", "text"],
    "additionalProperties": False,
}
Content = Annotated[
    str,
    BeforeValidator(_text_of),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": _PARTS}]}),
]
Prompts = Annotated[
    list[str],
    BeforeValidator(_texts("; token ids are not taken, since text must not forge special tokens")),
    Field(min_length=1),
    WithJsonSchema(_ONE_OR_MORE | {"description": "each is a user's turn, written in the model's own template"}),
]
Stops = Annotated[
    list[Annotated[str, Field(min_length=1)]] | None,
    BeforeValidator(lambda given: None if given is None else _texts("", MOST_STOPS)(given)),
    WithJsonSchema(_STOP),
]


class _Strict(BaseModel):
    """No conversions between types, no unknown names, no infinite numbers."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class ChatMessage(_Strict):
    """One turn of the dialogue; `developer` is another word for `system`."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Content

    @model_validator(mode="before")
    @classmethod
    def _neutral(cls, given: Any) -> Any:
        return without_neutral(given, MESSAGE)


class StreamOptions(_Strict):
    """How a stream ends."""

    include_usage: bool | None = Field(default=None, description="a last chunk that counts the tokens")

    @model_validator(mode="before")
    @classmethod
    def _neutral(cls, given: Any) -> Any:
        return without_neutral(given, STREAM)


class Asked(_Strict):
    """What both kinds of request share."""

    model: str = Field(
        min_length=1, description="a model's name, or name@preset, or name@CONDITION such as name@helpful=0.7,funny=0.3"
    )
    steering: Annotated[Any, WithJsonSchema(STEERING)] = None
    n: int | None = Field(default=None, ge=1, le=128, description="replies to each prompt; 1 if left out")
    seed: int | None = Field(
        default=None, ge=-(2**63), lt=2**64, description="the same seed, request and model give the same replies"
    )
    temperature: float | None = Field(
        default=None, ge=0, le=2, description="0 takes the likeliest tokens; 1 if left out"
    )
    top_p: float | None = Field(default=None, ge=0, le=1, description="only the likeliest tokens of that mass")
    max_tokens: int | None = Field(default=None, ge=1, description="most tokens of a reply, its end token included")
    stop: Stops = None
    stream: bool | None = Field(default=None, description="send the reply as it is drawn, by server-sent events")
    stream_options: StreamOptions | None = Field(default=None, description="include_usage: count the tokens at the end")

    @model_validator(mode="after")
    def _stream_options_need_a_stream(self) -> Any:
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options is for streams only; set stream to true, or leave it out")
        return self


class ChatRequest(Asked):
    """Body of POST /v1/chat/completions."""

    messages: list[ChatMessage] = Field(
        min_length=1,
        max_length=2048,
        description="the dialogue: turns of a role (system, user, assistant) and a content",
    )
    max_completion_tokens: int | None = Field(default=None, ge=1, description="the newer name of max_tokens")
    logprobs: bool | None = Field(default=None, description="log-probabilities of the reply's tokens")
    top_logprobs: int | None = Field(
        default=None, ge=0, le=20, description="how many likely tokens to name at each place"
    )

    @model_validator(mode="before")
    @classmethod
    def _neutral(cls, given: Any) -> Any:
        return without_neutral(given, CHAT)

    @model_validator(mode="after")
    def _agree(self) -> ChatRequest:
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs; set it to true")
        if None not in (self.max_tokens, self.max_completion_tokens) and self.max_tokens != self.max_completion_tokens:
            raise ValueError("max_tokens and max_completion_tokens are two names of one limit; give one of them")
        return self


class CompletionRequest(Asked):
    """Body of POST /v1/completions."""

    prompt: Prompts
    logprobs: int | None = Field(default=None, ge=0, le=5, description="how many likely tokens to name at each place")
    echo: bool | None = Field(default=None, description="put the prompt before the text (not together with logprobs)")

    @model_validator(mode="before")
    @classmethod
    def _neutral(cls, given: Any) -> Any:
        return without_neutral(given, COMPLETION)

    @model_validator(mode="after")
    def _agree(self) -> CompletionRequest:
        if self.echo and self.logprobs is not None:
            raise ValueError("echo cannot be combined with logprobs: prompts have none")
        return self

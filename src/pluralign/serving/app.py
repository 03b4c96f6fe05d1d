"""The application: paths, what they take and what they give. Nothing here waits for the decoder; `delivery.py` does."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from starlette.concurrency import run_in_threadpool

from pluralign import __version__
from pluralign.data.condition import Condition
from pluralign.errors import ConditionError, ConfigError, ModelError
from pluralign.serving import documents, listing, problems
from pluralign.serving.answers import ChatAnswer, CompletionAnswer
from pluralign.serving.asking import Question, chat_question, completion_question
from pluralign.serving.delivery import Delivery
from pluralign.serving.page import page
from pluralign.serving.reply import Reply
from pluralign.serving.schemas import Asked, ChatRequest, CompletionRequest
from pluralign.serving.settings import ServeSettings
from pluralign.serving.steering_field import Presets, check
from pluralign.serving.token_text import Speller
from pluralign.steering.search import SearchSteering
from pluralign.storage import fingerprint

if TYPE_CHECKING:
    from pluralign.policy import Policy
    from pluralign.serving.worker import Worker

LONG = 20_000
"""Characters of a body from which its texts are encoded in a thread of their own: others must not wait for it."""
SEEN = 32
"""Numbers of a tensor that a fingerprint looks at, twice."""
NO_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""FastAPI can record requests for OpenTelemetry, exceptions and their texts too: it must not, whatever the environment says."""


def check_servable(name: str, policy: Policy) -> None:
    """Raise ModelError, ConfigError for a policy that cannot be served, with the reason."""
    if isinstance(policy.steering, SearchSteering):
        raise ModelError(
            f"{name} answers by search ({policy.steering.num} candidates for each reply, judged by a scorer): that is no "
            "distribution over next tokens, so that it can neither stream nor share a batch; use `pluralign sample`"
        )
    if not name or "@" in name:
        raise ConfigError(f"a model's name must not be empty or hold '@', which begins its condition; got {name!r}")


def presets_of(workers: Mapping[str, Worker], presets: Presets) -> dict[str, Presets]:
    """By policy, the presets that it can be asked for. Raises ConditionError for one that none can."""
    found: dict[str, dict[str, Condition]] = {name: {} for name in workers}
    for preset, condition in presets.items():
        reasons = []
        for name, worker in workers.items():
            try:
                check(worker.policy, condition)
            except ConditionError as error:
                reasons.append(f"{name}: {error}")
            else:
                found[name][preset] = condition
        if len(reasons) == len(workers):
            raise ConditionError(f"no model can be asked for the preset {preset!r}; {'; '.join(reasons)}")
    return dict(found)


class Api:
    """The endpoints on some workers."""

    def __init__(self, workers: Mapping[str, Worker], presets: Presets, settings: ServeSettings) -> None:
        self.workers, self.presets, self.settings = workers, presets_of(workers, presets), settings
        self.listed = listing.listed(workers, self.presets, int(time.time()))
        self.spellers = {name: Speller(worker.policy.encoder.tokenizer) for name, worker in workers.items()}
        self.fingerprints = {name: _fingerprint(worker.policy) for name, worker in workers.items()}

    async def chat(self, request: Request, body: ChatRequest) -> Response:
        """A chat's replies."""
        length = sum(len(message.content) for message in body.messages)
        asked = await _apart(length, chat_question, body, self.workers, self.presets, self.settings)
        answer = ChatAnswer(**self._head(asked, body), logprobs=bool(body.logprobs))
        return self._deliver(request, asked, answer, body)

    async def completions(self, request: Request, body: CompletionRequest) -> Response:
        """Replies to prompts."""
        length = sum(map(len, body.prompt))
        asked = await _apart(length, completion_question, body, self.workers, self.presets, self.settings)
        echoes = [text for text in body.prompt for _ in range(asked.num_each)] if body.echo else []
        answer = CompletionAnswer(**self._head(asked, body), logprobs=body.logprobs is not None, echoes=echoes)
        return self._deliver(request, asked, answer, body)

    def _head(self, asked: Question, body: Asked) -> dict[str, Any]:
        options = body.stream_options
        return {
            "model": body.model,
            "fingerprint": self.fingerprints[asked.worker.name],
            "steering": asked.steered.echo(),
            "include_usage": bool(options and options.include_usage),
        }

    def _deliver(
        self, request: Request, asked: Question, answer: ChatAnswer | CompletionAnswer, body: Asked
    ) -> Response:
        encoder = asked.worker.policy.encoder
        speller = self.spellers[asked.worker.name] if answer.logprobs else None
        replies = [Reply(encoder.decode, encoder.end_id, asked.stops, speller, not body.stream) for _ in asked.requests]
        submit = partial(asked.worker.submit, asked.requests, getattr(request.state, "owner", ""))
        return Delivery(submit, replies, answer, asked.num_each, bool(body.stream))

    async def models(self) -> Response:
        """Policies and presets."""
        return documents.json_response({"object": "list", "data": list(self.listed.values())})

    async def model(self, model: str) -> Response:
        """One of them."""
        return documents.json_response(listing.one(self.listed, model))

    async def health(self) -> Response:
        """Whether every worker answers."""
        troubles = {name: trouble for name, worker in self.workers.items() if (trouble := worker.trouble())}
        body = {"status": "failing" if troubles else "ok", "models": {n: troubles.get(n, "ok") for n in self.workers}}
        return documents.json_response(body, 503 if troubles else 200)


async def _apart(length: int, question: Any, *given: Any) -> Question:
    return await run_in_threadpool(question, *given) if length > LONG else question(*given)


def _fingerprint(policy: Policy) -> str:
    """The API's `system_fingerprint`: other weights, another template or version give another one.

    Of each tensor the last numbers and some from all over it are looked at: training moves them all.
    """
    seen = [
        (name, tuple(tensor.shape), flat[:: len(flat) // SEEN + 1].tolist(), flat[-SEEN:].tolist())
        for model in policy.models
        for name, tensor in model.model.state_dict().items()
        for flat in [tensor.detach().flatten()]
    ]
    told = [(model.fingerprint(), model.steering.kind, model.steering.config()) for model in policy.models]
    return "fp_" + fingerprint(repr(seen), repr(told), __version__)[:12]


def build_app(
    workers: Mapping[str, Worker], presets: Presets | None = None, settings: ServeSettings | None = None
) -> FastAPI:
    """The server's application.

    Raises ModelError, ConfigError for a policy that cannot be served, ConditionError for a preset that none can follow.
    """
    for name, worker in workers.items():
        check_servable(name, worker.policy)
    api = Api(workers, presets or {}, settings or ServeSettings())
    app = FastAPI(
        title="pluralign",
        version=__version__,
        description=documents.DESCRIPTION,
        telemetry=NO_TELEMETRY,
        docs_url=None,
        redoc_url=None,
    )
    problems.install(app)
    first = next(((name, worker.policy, api.presets[name]) for name, worker in workers.items()), None)
    chats, texts = (documents.chat_examples(*first), documents.text_examples(*first)) if first else ({}, {})
    chat = documents.reply_route("Replies to a chat", documents.ChatReply, chats)
    text = documents.reply_route("Replies to prompts", documents.TextReply, texts)
    app.add_api_route("/v1/chat/completions", api.chat, methods=["POST"], **chat)
    app.add_api_route("/v1/completions", api.completions, methods=["POST"], **text)
    app.add_api_route("/v1/models", api.models, **documents.MODELS)
    app.add_api_route("/v1/models/{model:path}", api.model, **documents.MODEL)
    app.add_api_route("/healthz", api.health, **documents.HEALTH)
    app.add_api_route("/docs", lambda: page(app.openapi()), include_in_schema=False, response_model=None)
    return app

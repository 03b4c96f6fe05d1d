"""Load for a server that speaks the completion protocol: asks sent over HTTP by an asynchronous client, replies timed.

Closed loop: a fixed number of clients, each with one request under way. Open loop: requests fall due at random moments
of a fixed rate, whatever the server does with them; a client that is too busy to send them in time says so (`due`, `sent`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pluralign.errors import MissingExtraError

SHARDS = 16
"""Connection pools of the client: choosing a connection takes as long as a pool has them."""
IDLE = 2.0
"""Seconds after which an idle connection is not used again: the server may be about to close it."""
TIMEOUT = 120.0
"""Seconds without a byte after which a request counts as lost."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: `weights` by objective (None: unsteered), the rest as in `sampling.engine.Request`."""

    prompt: str
    weights: Mapping[str, float] | None
    seed: int
    max_tokens: int
    temperature: float = 1.0

    @property
    def drawn_with(self) -> int:
        """The seed of the only reply to this request, as the server (and `sampling.local.complete`) counts them."""
        return self.seed << 32

    def body(self, model: str, stream: bool) -> dict[str, Any]:
        """The request's JSON."""
        made: dict[str, Any] = {
            "model": model,
            "messages": [{"role": "user", "content": self.prompt}],
            "seed": self.seed,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "stream": stream,
        }
        if stream:
            made["stream_options"] = {"include_usage": True}
        if self.weights is not None:
            made["steering"] = {"weights": dict(self.weights)}
        return made


@dataclass(slots=True)
class Reply:
    """What became of ask number `place`. Moments are seconds of `time.perf_counter`; `first` is that of the first token
    (streams only). `echoed`: the weights that the server says it used. `problem`: why there is no reply, if so."""

    place: int
    due: float
    sent: float = 0.0
    first: float = 0.0
    ended: float = 0.0
    status: int = 0
    text: str = ""
    tokens: int = 0
    finish: str | None = None
    echoed: Mapping[str, float] | None = None
    retry_after: float | None = None
    problem: str = ""

    @property
    def complete(self) -> bool:
        """A whole reply came."""
        return self.status == 200 and self.finish is not None and not self.problem

    @property
    def refused(self) -> bool:
        """The server said when to come back."""
        return self.status == 429 and self.retry_after is not None and not self.problem

    @property
    def lost(self) -> bool:
        """Neither a reply nor an orderly refusal."""
        return not (self.complete or self.refused)


@dataclass(frozen=True, slots=True)
class Target:
    """Where to ask: address up to the port, the model's name there, and whether replies are streamed."""

    address: str
    model: str
    stream: bool = True
    timeout: float = TIMEOUT


def closed(target: Target, asks: Sequence[Ask], clients: int, until: Callable[[], bool] | None = None) -> list[Reply]:
    """Send all asks, `clients` at a time; with `until`, the same asks again and again until it is true."""
    return asyncio.run(_closed(target, asks, clients, until))


def open_loop(
    target: Target, asks: Sequence[Ask], rate: float, enough: Callable[[Sequence[Reply]], bool], seed: int = 0
) -> list[Reply]:
    """Send the asks in turn, again and again, `rate` a second (Poisson), until `enough` is true of the replies so far;
    then wait for those under way."""
    return asyncio.run(_open_loop(target, asks, rate, enough, seed))


async def _closed(target: Target, asks: Sequence[Ask], clients: int, until: Callable[[], bool] | None) -> list[Reply]:
    replies: list[Reply] = []
    places = iter(range(len(asks))) if until is None else iter(_again(len(asks), until))

    async def work(client: Any) -> None:
        for place in places:
            reply = await _ask(client, target, asks[place], place, time.perf_counter())
            replies.append(reply)

    async with _clients(target) as pools:
        await asyncio.gather(*(work(pools[number % SHARDS]) for number in range(clients)))
    return replies


def _again(num: int, until: Callable[[], bool]) -> Iterable[int]:
    place = 0
    while not until():
        yield place % num
        place += 1


async def _open_loop(
    target: Target, asks: Sequence[Ask], rate: float, enough: Callable[[Sequence[Reply]], bool], seed: int
) -> list[Reply]:
    rng, replies, under_way = random.Random(seed), list[Reply](), set[asyncio.Task[None]]()

    async def one(client: Any, place: int, due: float) -> None:
        replies.append(await _ask(client, target, asks[place], place, due))

    async with _clients(target) as pools:
        due, number = time.perf_counter(), 0
        while not enough(replies):
            due += rng.expovariate(rate)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            task = asyncio.create_task(one(pools[number % SHARDS], number % len(asks), due))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            number += 1
        await asyncio.gather(*under_way)
    return replies


@contextlib.asynccontextmanager
async def _clients(target: Target) -> AsyncIterator[list[Any]]:
    try:
        import httpx2
    except ImportError as error:
        raise MissingExtraError("bench serve needs httpx2 and psutil: pip install 'pluralign[bench,serve]'") from error
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=1024, keepalive_expiry=IDLE)
    async with contextlib.AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                httpx2.AsyncClient(
                    base_url=target.address, timeout=target.timeout, limits=limits, trust_env=False, verify=False
                )
            )
            for _ in range(SHARDS)
        ]


async def _ask(client: Any, target: Target, ask: Ask, place: int, due: float) -> Reply:
    import httpx2

    reply = Reply(place, due, sent=time.perf_counter())
    body = ask.body(target.model, target.stream)
    try:
        async with client.stream("POST", "/v1/chat/completions", json=body) as response:
            reply.status = response.status_code
            reply.retry_after = _seconds(response.headers.get("retry-after"))
            if reply.status != 200:
                reply.text = (await response.aread()).decode(errors="replace")
            elif target.stream:
                await _read_stream(response, reply)
            else:
                _read(json.loads(await response.aread()), reply)
    except (httpx2.TransportError, ValueError, KeyError, IndexError, TypeError) as error:
        reply.problem = f"{type(error).__name__} {error}".strip()
    reply.ended = time.perf_counter()
    return reply


def _read(found: dict[str, Any], reply: Reply) -> None:
    choice = found["choices"][0]
    reply.text, reply.finish = choice["message"]["content"], choice["finish_reason"]
    reply.tokens = found["usage"]["completion_tokens"]
    reply.echoed = _weights(found)


async def _read_stream(response: Any, reply: Reply) -> None:
    """Pieces until `[DONE]`; a stream that ends without it is broken."""
    pieces, done = [], False
    async for line in response.aiter_lines():
        if not line.startswith("data: "):
            continue
        done = line == "data: [DONE]"
        if not done:
            pieces.append(_piece(json.loads(line[6:]), reply))
    reply.text = "".join(pieces)
    if not done:
        reply.problem = reply.problem or "the stream ended without [DONE]"


def _piece(found: dict[str, Any], reply: Reply) -> str:
    """The text of one event; notes the moment of the first, the end and the usage."""
    if "error" in found:
        reply.problem = str(found["error"])[:200]
        return ""
    reply.echoed = _weights(found) or reply.echoed
    if found.get("usage"):
        reply.tokens = found["usage"]["completion_tokens"]
    for choice in found["choices"]:
        reply.finish = choice.get("finish_reason") or reply.finish
        text = choice["delta"].get("content") or ""
        if text and not reply.first:
            reply.first = time.perf_counter()
        return str(text)
    return ""


def _weights(found: dict[str, Any]) -> Mapping[str, float] | None:
    steering = found.get("steering")
    return steering.get("weights") if isinstance(steering, dict) else None


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.strip().isdigit() else None

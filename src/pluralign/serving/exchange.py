"""One HTTP exchange: the body read with a limit, the client watched, the time kept.

The app behind sees a request whose body is all there, and is cancelled as soon as its client has gone, streaming or not.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from pydantic_core import from_json

from pluralign.serving.problems import problem
from pluralign.serving.settings import ServeSettings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
"""ASGI, as uvicorn speaks it."""

MARGIN = 5.0
"""Seconds after the time limit at which a request is broken off that has not ended itself with a clear error."""


class _Refused(Exception):
    """The body is not taken: (message, status, code)."""


class _Gone(Exception):
    """The client left before its request was complete."""


class Exchange:
    """Between the doors and the app. Sets `state["gone"]` where the client left early."""

    def __init__(self, app: App, settings: ServeSettings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, answer, and let nobody wait for ever."""
        state = scope["state"]
        try:
            body = await self._body(scope, receive)
        except _Refused as refused:
            message, status, code = refused.args
            late = {"Connection": "close"} if status == 408 else {}
            await problem(message, status, code, headers=late)(scope, receive, send)
            return
        except _Gone:
            state["gone"] = True
            return
        if self.settings.log_prompts:
            state["body"] = body
        await self._answer(scope, body, receive, send)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        limit, headers = self.settings.max_body, dict(scope["headers"])
        too_large = f"the body may have {limit} bytes; shorten the prompt, or ask for less at a time"
        said = headers.get(b"content-length", b"0")
        if said.isdigit() and int(said) > limit:
            raise _Refused(too_large, 413, "body_too_large")
        parts, size, more = [], 0, True
        while more:
            try:
                async with asyncio.timeout(self.settings.stall):
                    message = await receive()
            except TimeoutError:
                text = f"nothing more of the body came in {self.settings.stall:g} seconds"
                raise _Refused(text, 408, "timeout") from None
            if message["type"] == "http.disconnect":
                raise _Gone
            parts.append(message.get("body", b""))
            size, more = size + len(parts[-1]), message.get("more_body", False)
            if size > limit:
                raise _Refused(too_large, 413, "body_too_large")
        body = b"".join(parts)
        if body and b"json" in headers.get(b"content-type", b""):
            _check_json(body)
        return body

    async def _answer(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        line = _Line(body, send, self.settings.stall)
        answer = asyncio.ensure_future(self.app(scope, line.receive, line.send))
        watch = asyncio.ensure_future(line.watch(receive))
        lost = asyncio.ensure_future(line.lost.wait())
        try:
            limit = self.settings.timeout + MARGIN
            await asyncio.wait({answer, lost}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            late = not answer.done() and not line.lost.is_set()
            scope["state"]["gone"] = line.lost.is_set()
        finally:
            line.close()
            for task in (answer, watch, lost):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await answer
        if late and not line.started:
            text = f"the request took more than {self.settings.timeout:g} seconds, and that is the server's limit"
            await problem(text, 504, "timeout")(scope, receive, send)


class _Line:
    """What the app sees of the client: a body that is there already, and a reader who must not stall.

    `lost` is set where the client has gone before its answer was complete, or takes nothing of it.
    """

    def __init__(self, body: bytes, send: Send, stall: float) -> None:
        self._body: bytes | None = body
        self._send, self._stall = send, stall
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._sending: float | None = None  # since when
        self.lost = asyncio.Event()
        self.started = self._complete = False

    async def receive(self) -> Message:
        """The body at once; then nothing until the client is lost."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.lost.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Waits where the client reads slowly, until it is lost: then whoever sends is cancelled."""
        if not self.started:
            self.started = True
            self._timer = self._loop.call_later(self._stall, self._look)
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        self._complete = self._complete or last  # before it is sent: the server says "gone" after every answer
        self._sending = self._loop.time()
        await self._send(message)
        self._sending = None

    def _look(self) -> None:
        """One timer watches all that is sent: one for each of thousands of tokens would cost more than sending them."""
        since = self._loop.time() if self._sending is None else self._sending
        if since + self._stall <= self._loop.time():
            self.lost.set()
        else:
            self._timer = self._loop.call_at(since + self._stall, self._look)

    def close(self) -> None:
        """The exchange is over."""
        if self._timer is not None:
            self._timer.cancel()

    async def watch(self, receive: Receive) -> None:
        """Wait for the client to leave."""
        while (await receive())["type"] != "http.disconnect":
            pass
        if not self._complete:
            self.lost.set()


def _check_json(body: bytes) -> None:
    """Refuse what is no JSON in UTF-8, or nested deeper than the parser goes (200 levels), before anybody builds on it."""
    try:
        from_json(body)
    except ValueError as error:
        raise _Refused(f"the body is no JSON: {error}", 400, "invalid_json") from None

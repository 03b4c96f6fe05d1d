"""A small real HTTP server that speaks the completion protocol, to try the load generator on: it does what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import uvicorn

Send = Callable[[dict[str, Any]], Awaitable[None]]


def words(body: dict[str, Any]) -> list[str]:
    """The reply to a request: a function of its prompt, weights and seed."""
    weights = body.get("steering", {}).get("weights", {})
    return [body["messages"][-1]["content"], *(f"{name}={share}" for name, share in weights.items()), str(body["seed"])]


class Speaker:
    """Answers `slots` requests at once, each in `seconds`; the rest gets 429. `fault` names what goes wrong with every
    tenth request: "swap" (the reply of another), "echo" (other weights), "cut" (the stream breaks off), "fail" (500)."""

    def __init__(self, slots: int = 1000, seconds: float = 0.0, fault: str = "") -> None:
        self.slots, self.seconds, self.fault = slots, seconds, fault
        self.running = self.most = self.served = 0
        self._before: dict[str, Any] | None = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Send) -> None:
        """The ASGI application."""
        assert scope["type"] == "http"
        body = b""
        while (message := await receive()).get("more_body") or message["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        await self._answer(json.loads(body), send)

    async def _answer(self, body: dict[str, Any], send: Send) -> None:
        if self.running >= self.slots:
            await _whole(send, 429, b'{"error": {"message": "full"}}', [(b"retry-after", b"1")])
            return
        self.running += 1
        self.most, self.served = max(self.most, self.running), self.served + 1
        faulty = self.fault if self.served % 10 == 0 else ""
        try:
            await asyncio.sleep(self.seconds)
            await self._reply(body, faulty, send)
        finally:
            self.running -= 1
            self._before = body

    async def _reply(self, body: dict[str, Any], faulty: str, send: Send) -> None:
        if faulty == "fail":
            await _whole(send, 500, b"{}", [])
            return
        told = words(self._before or body) if faulty == "swap" else words(body)
        steering = {"weights": {"funny": 1.0}} if faulty == "echo" else body.get("steering")
        usage = {"completion_tokens": len(told)}
        if not body["stream"]:
            choice = {"message": {"content": " ".join(told)}, "finish_reason": "stop"}
            whole = {"choices": [choice], "usage": usage, "steering": steering}
            await _whole(send, 200, json.dumps(whole).encode(), [])
            return
        events = [{"choices": [{"delta": {"content": f" {word}" if n else word}}]} for n, word in enumerate(told)]
        events += [{"choices": [{"delta": {}, "finish_reason": "stop"}], "steering": steering}]
        events += [{"choices": [], "usage": usage}]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for event in events[: 1 if faulty == "cut" else None]:
            line = b"data: " + json.dumps(event).encode() + b"\n\n"
            await send({"type": "http.response.body", "body": line, "more_body": True})
        last = b"" if faulty == "cut" else b"data: [DONE]\n\n"
        await send({"type": "http.response.body", "body": last})


async def _whole(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextlib.contextmanager
def speaking(speaker: Speaker) -> Iterator[str]:
    """The server's address while it runs, in a thread of its own."""
    server = uvicorn.Server(uvicorn.Config(speaker, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
